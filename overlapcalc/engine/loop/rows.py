"""Tensors as rows: one row per sample of the axes, with all that the other dimensions hold there.

A step of a loop makes samples from all over the image. As rows they can be picked, and put together, one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

from torch import Tensor

from ...algebra.reshape import Factoring


@dataclass(frozen=True)
class RowForm:
    """How the tensor of a node becomes rows and back. axes: in the order in which samples are counted, row-major."""

    layout: Factoring
    axes: tuple[str, ...]

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The length of each axis."""
        return tuple(self.layout.sizes[i] for i in self._along)

    @cached_property
    def width(self) -> int:
        """How many numbers a row holds."""
        return prod(self.layout.sizes[i] for i in self._across)

    @cached_property
    def _along(self) -> tuple[int, ...]:
        return tuple(self.layout.labels.index(axis) for axis in self.axes)

    @cached_property
    def _across(self) -> tuple[int, ...]:
        return tuple(i for i in range(len(self.layout.parts)) if i not in self._along)

    @cached_property
    def _rest(self) -> tuple[int, ...]:
        return tuple(self.layout.sizes[i] for i in self._across)

    @cached_property
    def _order(self) -> tuple[int, ...]:
        """The parts, axes first."""
        return (*self._along, *self._across)

    @cached_property
    def _back(self) -> tuple[int, ...]:
        return tuple(self._order.index(i) for i in range(len(self._order)))

    def rows(self, x: Tensor, lengths: Sequence[int]) -> Tensor:
        """A part of the tensor, of these lengths along the axes, as (samples, width)."""
        if not self.layout.simple:
            along = dict(zip(self._along, lengths, strict=True))
            x = x.reshape([along.get(i, n) for i, n in enumerate(self.layout.sizes)])
        return x.permute(self._order).reshape(-1, self.width)

    def tensor(self, rows: Tensor, lengths: Sequence[int]) -> Tensor:
        """The inverse of `rows`."""
        return self._joined(rows, (), lengths)

    def tensors(self, rows: Tensor, lengths: Sequence[int]) -> Tensor:
        """(n, samples, width) as n parts of the tensor, along a new first dimension."""
        return self._joined(rows, (len(rows),), lengths)

    def rows_of_each(self, x: Tensor, lengths: Sequence[int]) -> Tensor:
        """The inverse of `tensors`."""
        along = dict(zip(self._along, lengths, strict=True))
        parts = x.reshape([len(x), *(along.get(i, n) for i, n in enumerate(self.layout.sizes))])
        return parts.permute(0, *(i + 1 for i in self._order)).reshape(len(x), prod(lengths), self.width)

    def _joined(self, rows: Tensor, lead: tuple[int, ...], lengths: Sequence[int]) -> Tensor:
        n = len(lead)
        back = tuple(n + i for i in self._back) if n else self._back
        parts = rows.reshape(*lead, *lengths, *self._rest).permute(*range(n), *back)
        if self.layout.simple:
            return parts
        along = dict(zip(self._along, lengths, strict=True))
        sizes = [along.get(i, size) for i, size in enumerate(self.layout.sizes)]
        return parts.reshape(
            *lead, *(prod(sizes[i] for i in self.layout.places(d)) for d in range(len(self.layout.widths)))
        )


def fits(layout: Factoring, axes: Sequence[str]) -> bool:
    """Whether a tensor has each of the axes, once."""
    return all(layout.labels.count(axis) == 1 for axis in axes)
