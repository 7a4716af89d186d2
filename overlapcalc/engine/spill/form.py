"""The order in which the samples of a tensor lie that is written and read in bands."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from ...algebra.spans import Span

CPU = torch.device("cpu")


@dataclass(frozen=True)
class RowsForm:
    """A tensor, cut into bands along dimension `at`. A row is one sample along it, whole otherwise.

    Rows lie one after another, so that a band is one stretch of memory. Within a row, channels come last where they
    are not what is cut: a band of rows of an image (1, C, H, W) is then a channels_last tensor. Raises ValueError.

    >>> form = RowsForm("x", (1, 16, 100, 200), 2, torch.float32)
    >>> form.order, form.row_bytes, form.nbytes
    ((2, 0, 3, 1), 12800, 1280000)
    """

    name: str
    shape: tuple[int, ...]
    at: int
    dtype: torch.dtype
    device: torch.device = CPU

    def __post_init__(self) -> None:
        if not 0 <= self.at < len(self.shape) or min(self.shape) < 0:
            raise ValueError(f"{self.name}: no bands of shape {self.shape} along dimension {self.at}")

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The dimensions as they lie, the outermost first."""
        last = [1] if len(self.shape) >= 3 and self.at != 1 else []
        return (self.at, *(d for d in range(len(self.shape)) if d != self.at and d not in last), *last)

    @cached_property
    def _back(self) -> tuple[int, ...]:
        return tuple(self.order.index(d) for d in range(len(self.shape)))

    @property
    def rows(self) -> int:
        return self.shape[self.at]

    @cached_property
    def row_bytes(self) -> int:
        return prod(self.shape[d] for d in self.order[1:]) * self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.rows * self.row_bytes

    def lying(self, band: Tensor) -> Tensor:
        """The band with its dimensions as they lie: a view."""
        return band.detach().permute(self.order)

    def standing(self, lying: Tensor) -> Tensor:
        """The opposite of `lying`.

        Dimensions of one sample get a stride beyond all others: torch tells channels_last tensors by their strides, and
        copies others before it convolves them.
        """
        x = lying.permute(self._back)
        strides = [lying.numel() if n == 1 else step for n, step in zip(x.shape, x.stride(), strict=True)]
        return x.as_strided(x.shape, strides) if lying.numel() else x

    def empty(self, rows: int, device: torch.device | None = None) -> Tensor:
        """Room for so many rows, as they lie."""
        sizes = [rows, *(self.shape[d] for d in self.order[1:])]
        return torch.empty(sizes, dtype=self.dtype, device=self.device if device is None else device)

    def span_of(self, begins: int, band: Tensor) -> Span | None:
        """The rows that a band is; None for a band without rows. Raises AssertionError for one that does not fit."""
        rows = band.shape[self.at] if band.dim() == len(self.shape) else 0
        fitting = (*self.shape[: self.at], rows, *self.shape[self.at + 1 :])
        if tuple(band.shape) != fitting or band.dtype != self.dtype:
            raise AssertionError(
                f"{self.name}: a band of shape {tuple(band.shape)} and type {band.dtype} "
                f"for shape {self.shape} and type {self.dtype}, cut along dimension {self.at}"
            )
        return Span(begins, begins + rows) if rows else None
