"""Weighted samples per output, as resampling reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from ...algebra.spans import Span
from .frame import Gathering


def gathering(taps: Callable[[int], Mapping[int, float]], span: Span, begins: int) -> Gathering:
    found = [list(taps(o).items()) for o in range(*span)]
    out = []
    for t in range(max(map(len, found))):
        # an output with fewer taps repeats its first one with weight 0: finite where the others are
        chosen = [f[t] if t < len(f) else (f[0][0], 0.0) for f in found]
        index = torch.tensor([i - begins for i, _ in chosen], device="cpu")
        plain = all(weight == 1 for _, weight in chosen)
        out.append((index, None if plain else torch.tensor([w for _, w in chosen], dtype=torch.float64, device="cpu")))
    return out
