"""Tiles in units of the joint grid: cutting whole steps off either end of the image.

Feeding the unmodified net all but the first `a` and the last `c` steps of an image of n samples leaves each of its
tensors, N samples long and moving r samples per step, with the samples `[a*r, N - c*r)`. A tile is right when
everything that must exist unspoiled lies inside these spans. So the hulls of what must exist decide, and a and c are
found independently of each other.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

from .backward import BackwardReads
from .values import Propagation


class Grid:
    """How many samples each tensor moves per step of the joint grid along one axis."""

    def __init__(self, net: Propagation, axis: str) -> None:
        self._net, self._axis = net, axis
        self._steps = net.rates.steps()
        self.per_step = lru_cache(maxsize=None)(self._per_step)
        self._spare = lru_cache(maxsize=None)(self._to_spare)

    def _per_step(self, node: str) -> int:
        """How many samples this tensor moves when its component moves by one step."""
        component, samples = self._net.rates.root(self._net.values[node].rates[self._axis])
        moved = samples * self._steps.get(component, Fraction(1))
        assert moved.denominator == 1, (node, moved)
        return int(moved)

    def same(self, a: str, b: str) -> bool:
        """Whether two tensors move together."""
        rates = self._net.values[a].rates, self._net.values[b].rates
        if any(self._axis not in r for r in rates):
            return False
        return self._net.rates.root(rates[0][self._axis])[0] == self._net.rates.root(rates[1][self._axis])[0]

    def interior(self, found: BackwardReads, output: str) -> tuple[int, int]:
        """How many steps the tile begins before the block of step 0, and the step at which the image ends when the
        tile ends as early as it may.

        A tensor needed up to f samples beyond the end of the block at step 1 must still hold them after the cut:
        `N - c*r >= v*r + f`, so the cut leaves room for blocks that end at step v where
        `v + c <= floor((N - f) / r)`.
        """
        before = 0
        end: int | None = None
        for node, span in found.exist.items():
            if not self.same(node, output):
                continue
            r, length = self.per_step(node), self._length(node)
            before = max(before, -(span.start // r))
            room = (length - (span.stop - r)) // r
            end = room if end is None else min(end, room)
        assert end is not None
        return before, end

    def cut(self, found: BackwardReads, output: str) -> tuple[int, int]:
        """The most whole steps that can be cut off before and after such that the net still runs on the tile."""
        firsts, lasts = [], []
        for node, span in found.exist.items():
            if self.same(node, output):
                r = self.per_step(node)
                firsts.append(span.start // r)
                lasts.append((self._length(node) - span.stop) // r)
        first, last = max(0, min(firsts)), max(0, min(lasts))
        excess = first + last - self._spare(output)
        if excess > 0:  # too short to run: give back at the end, then at the start
            back = min(last, excess)
            last -= back
            first = max(0, first - (excess - back))
        return first, last

    def _to_spare(self, output: str) -> int:
        """How many steps the image can lose before some operator no longer runs."""
        spare: list[int] = []
        for node in self._net.graph:
            if self.same(node.name, output):
                spare.append((self._length(node.name) - 1) // self.per_step(node.name))
            for path in self._net.values[node.name].paths:
                along = path.axes.get(self._axis)
                if along is not None and along.least > 1 and self.same(path.operand, output):
                    length = self._length(path.operand)
                    spare.append((length - along.least) // self.per_step(path.operand))
        return max(0, min(spare))

    def _length(self, node: str) -> int:
        length = self._net.size(node, self._axis)
        assert length is not None
        return length
