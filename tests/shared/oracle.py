"""Brute force: which outputs change when one input sample does. Imports nothing of overlapcalc.

Dependence is shown in two ways. NaN in a sample spreads to everything that reads it, but `0 * NaN` also spreads
along taps of weight zero (a mask; a linear resampling at its clamped border). Finite fillings spread only along
real taps, but a maximum may hide them. So: an output that NaN does not reach does not depend on the sample; one
that some filling changes does; one that NaN reaches and that many fillings leave bit-identical does not.
"""

from __future__ import annotations

import torch
from torch import nn

FILLINGS = (3.0, -5.0, 1e4, -1e4, 1e8, -1e8, 0.37, -0.01, 1e2, 0.0)
ATTEMPTS = 12


class Dependency:
    """What each output depends on, along one dimension of one example x (batch 1, float64).

    zero_taps: the net has taps whose weight can be zero, so that NaN alone says too much.
    """

    def __init__(
        self, model: nn.Module, x: torch.Tensor, dim: int, out_dim: int | None = None, *, zero_taps: bool = False
    ) -> None:
        self.model, self.x, self.dim, self.out_dim = model, x, dim, dim if out_dim is None else out_dim
        self.zero_taps = zero_taps
        self.size = x.shape[dim]
        chunk = max(1, min(self.size, (1 << 20) // max(1, x.numel())))
        nan = float("nan")
        rows = [
            self._changed([(i, nan) for i in range(start, min(self.size, start + chunk))])
            for start in range(0, self.size, chunk)
        ]
        self.matrix = torch.cat(rows).T  # [outputs, inputs]
        self.out_size = self.matrix.shape[0]
        self._real: dict[tuple[int, int], torch.Tensor] = {}

    def hull(self, start: int, stop: int) -> tuple[int, int] | None:
        """First and one past the last sample that outputs [start, stop) depend on."""
        found = self.matrix[start:stop].any(dim=0).nonzero().flatten().tolist()
        while found and not self._depends(found[0], start, stop):
            found.pop(0)
        while found and not self._depends(found[-1], start, stop):
            found.pop()
        return (found[0], found[-1] + 1) if found else None

    def _depends(self, i: int, start: int, stop: int) -> bool:
        if not self.zero_taps:
            return True
        for attempt in range(ATTEMPTS):
            if (i, attempt) not in self._real:
                self._real[i, attempt] = self._changed([(i, f) for f in FILLINGS], attempt).any(dim=0)
            if self._real[i, attempt][start:stop].any():
                return True
        return False

    def _changed(self, fillings: list[tuple[int, float]], attempt: int = 0) -> torch.Tensor:
        """[fillings, outputs]: whether putting a value into sample i changes an output. Both runs have one shape."""
        clean = self.x.repeat(len(fillings), *[1] * (self.x.dim() - 1))
        if attempt:  # other values all around, so that a maximum elsewhere does not hide the sample every time
            noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(attempt), dtype=clean.dtype)
            clean = noise * 10.0 ** (attempt % 3 - 1)
        dirty = clean.clone()
        for row, (i, value) in enumerate(fillings):
            dirty[row].narrow(self.dim - 1, i, 1).fill_(value)
        with torch.no_grad():
            before, after = self.model(clean), self.model(dirty)
        changed = ~((before == after) | (before.isnan() & after.isnan()))
        others = [d for d in range(1, changed.dim()) if d != self.out_dim]
        return changed.any(dim=tuple(others)) if others else changed
