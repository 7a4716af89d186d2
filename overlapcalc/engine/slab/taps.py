"""The samples that resampling reads along one dimension, with their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from ...algebra.spans import Span


class Places:
    """Samples along a dimension, in any order and as often as they are wanted."""

    def __init__(self, places: Sequence[int]) -> None:
        self._places = places

    def of(self, x: Tensor, dim: int) -> Tensor:
        """Those samples of `x`, in the order in which the dimensions of `x` lie in memory: a tensor in channels_last
        stays so."""
        order = sorted(range(x.dim()), key=x.stride, reverse=True)
        back = sorted(range(x.dim()), key=order.__getitem__)
        lying, at = x.permute(order), order.index(dim)
        return self._taken(lying, at).permute(back)

    def _taken(self, x: Tensor, dim: int) -> Tensor:
        if self._times is None:
            return x.index_select(dim, self._index.to(x.device))
        first, last = self._places[0], self._places[-1]
        y = x.narrow(dim, first, last - first + 1).unsqueeze(dim + 1)
        y = y.expand(*y.shape[: dim + 1], self._times, *y.shape[dim + 2 :]).flatten(dim, dim + 1)
        return y.narrow(dim, self._times - self._places.count(first), len(self._places))

    @cached_property
    def _index(self) -> Tensor:
        return torch.tensor(self._places, device="cpu")

    @cached_property
    def _times(self) -> int | None:
        """How often each sample comes in a row, at the ends perhaps fewer times; None where that is not so. One copy
        of each in turn costs less than as many reads at random."""
        places = self._places
        most = max(places.count(places[len(places) // 2]), places.count(places[0]))
        ahead = most - places.count(places[0])
        even = all(place == places[0] + (i + ahead) // most for i, place in enumerate(places))
        return most if even else None


Gathering = Sequence[tuple[Places, "Tensor | None"]]
"""Places, and the weight of each; None where all are one. The sum over these is what is wanted."""


def gathering(taps: Callable[[int], Mapping[int, float]], span: Span, begins: int) -> Gathering:
    """What the outputs of a span read of samples that begin there."""
    found = [list(taps(o).items()) for o in range(*span)]
    out = []
    for t in range(max(map(len, found))):
        # an output with fewer taps repeats its first one with weight 0: finite where the others are
        chosen = [f[t] if t < len(f) else (f[0][0], 0.0) for f in found]
        places = Places([i - begins for i, _ in chosen])
        plain = all(weight == 1 for _, weight in chosen)
        out.append((places, None if plain else torch.tensor([w for _, w in chosen], dtype=torch.float64, device="cpu")))
    return out
