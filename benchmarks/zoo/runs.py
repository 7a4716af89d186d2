"""Running a net whole, poisoned and cut, and comparing the outputs. Knows nothing of overlapcalc."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

Outputs = list[torch.Tensor]
NAN = float("nan")
FINITE = (900.0, -70.0)
"""What samples are replaced by. NaN reaches whatever reads it, and through taps of weight zero too; finite values
only what reads them with a weight, but a maximum may hide them."""


@dataclass(frozen=True)
class Net:
    """A net and one set of inputs. `place` of an axis: which dimension of the inputs it is."""

    model: nn.Module
    inputs: tuple[torch.Tensor, ...]

    def run(self, inputs: tuple[torch.Tensor, ...] | None = None) -> Outputs:
        with torch.no_grad():
            return tensors(self.model(*(self.inputs if inputs is None else inputs)))

    def poisoned(self, which: int, dim: int, spans: list[tuple[int, int]], filling: float) -> Outputs:
        """The outputs with every sample in `spans` of one input's dimension replaced."""
        x = self.inputs[which].clone()
        for start, stop in spans:
            if stop > start:
                part = x.narrow(dim, start, stop - start)
                part.copy_(fill(part, filling))
        return self.run((*self.inputs[:which], x, *self.inputs[which + 1 :]))

    def cut(self, cuts: list[tuple[int, int, int]]) -> Outputs:
        """The outputs on a tile: per input the dimension, the first sample and the number of samples."""
        parts = [x if dim < 0 else x.narrow(dim, a, n) for x, (dim, a, n) in zip(self.inputs, cuts, strict=True)]
        return self.run(tuple(p.contiguous() for p in parts))


def fill(part: torch.Tensor, filling: float) -> torch.Tensor:
    if filling != filling:
        return torch.full_like(part, filling)
    generator = torch.Generator().manual_seed(int(abs(filling)))
    return torch.randn(part.shape, generator=generator, dtype=torch.float64).mul_(filling).to(part.dtype)


def tensors(value: Any) -> Outputs:
    """The tensors of whatever a forward pass returns, in order."""
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def changed(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Where two outputs differ in any bit that matters; NaN equals NaN."""
    return ~((a == b) | (a.isnan() & b.isnan()))


def along(mask: torch.Tensor, dim: int) -> torch.Tensor:
    """Which indices of a dimension have any change."""
    return mask.movedim(dim, 0).flatten(1).any(1) if mask.dim() > 1 else mask


def relative(part: torch.Tensor, whole: torch.Tensor, scale: float) -> float:
    """max |part - whole| over `scale`; infinite where NaN or shape sets them apart."""
    if part.shape != whole.shape:
        return float("inf")
    if part.numel() == 0:
        return 0.0
    error = float((part - whole).abs().max())
    return float("inf") if error != error else error / scale if scale > 0 else error
