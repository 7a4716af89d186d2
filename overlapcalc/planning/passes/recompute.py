"""Which tensors later passes compute anew instead of reading them back: where that costs less than the disk, and where
the disk is too small.

The costs are an estimate, for the choice alone: multiply-accumulates, and what it takes to move a byte or to make a
sample in their terms. What is chosen is then planned and weighed as everything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

from ...propagate.regions import whole_region
from ...propagate.staged import Staged
from ..costs import Costs
from ..spill_slots import SlotRequest, packed
from .order import ordered
from .stored import Stored, kept_within
from .timing import Timing, needed_whole

BYTE, SAMPLE = 5, 4
"""A byte to or from a disk, and a sample of any operator, in multiply-accumulates: 2 GB/s beside 10 GMAC/s."""


@dataclass(frozen=True)
class _Cost:
    work: int
    disk: int
    stored: tuple[str, ...]
    spilled: tuple[str, ...]


class Recompute:
    """The choice for one net. taken: what each pass takes beside what is stored. budget: bytes for both, as in
    `kept_within`. stored: what is stored if nothing is computed anew. limit: the most bytes on disk."""

    def __init__(
        self, net: Staged, stored: Sequence[Stored], taken: Sequence[int], budget: int | None, limit: int | None
    ) -> None:
        self._net, self._taken, self._budget, self._limit = net, taken, budget, limit
        self._known = {one.name: one for one in stored}
        self._whole = needed_whole(net) | {one.name for one in stored if one.whole}
        self._when = ordered(net)
        self._names = [node.name for node in net.net.graph if node.op != "input"]

    def chosen(self) -> frozenset[str]:
        """The nodes that are computed anew. Empty where nothing goes to the disk; and without a budget and a limit,
        because then nothing says that memory and disk are scarce."""
        best: frozenset[str] = frozenset()
        cost = self._cost(best)
        for name in sorted(cost.spilled, key=self._nbytes, reverse=True) if self._budget is not None else ():
            names = best | self._with_all(name, frozenset(cost.stored))
            tried = self._cost(names)
            if tried.work < cost.work and tried.disk <= cost.disk:
                best, cost = names, tried
        while self._limit is not None and cost.disk > self._limit:
            choices = [(best | more, self._cost(best | more)) for more in self._steps(cost)]
            choices = [(names, tried) for names, tried in choices if tried.disk < cost.disk]
            if not choices:
                return best
            before = cost
            best, cost = min(choices, key=lambda c: (c[1].work - before.work) / (before.disk - c[1].disk))
        return best

    def _steps(self, cost: _Cost) -> Iterator[frozenset[str]]:
        """One tensor on disk, or all, made of what is stored, of what is in memory, or of what was given alone."""
        stored, none = frozenset(cost.stored), frozenset[str]()
        for held in (stored, stored.difference(cost.spilled), none):
            each = [self._with_all(name, held) for name in cost.spilled]
            yield from [*each, none.union(*each)]
        yield none.union(*(self._with_all(name, none) for name in stored - self._whole))

    def _with_all(self, name: str, stored: frozenset[str]) -> frozenset[str]:
        """A node and all that it follows from, back to what is stored and to what was given."""
        graph, found, left = self._net.net.graph, set(), [name]
        while left:
            one = left.pop()
            if one not in found and graph[one].op != "input":
                found.add(one)
                left += [operand for operand in graph[one].operands if operand not in stored]
        return frozenset(found)

    @cached_property
    def _work(self) -> Mapping[str, int]:
        net = self._net.net
        macs = Costs(net).each_on({name: whole_region(net, name) for name in self._names})
        counted = {name: one.kernel_macs for name, one in macs.items()}
        return {name: counted.get(name, 0) + SAMPLE * self._samples(name) for name in self._names}

    def _cost(self, again: frozenset[str]) -> _Cost:
        timing = Timing.of(self._net, again, self._when)
        stored = [
            Stored(name, name, (), 0, "", True, self._nbytes(name), *times, kept=False, whole=name in self._whole)
            for name, times in timing.stored(self._names).items()
            if self._net.net.size(name, self._net.axis) is not None
        ]
        kept = kept_within(stored, self._taken, self._budget)
        spilled = [one for one in stored if one.name not in kept]
        work = sum(n * len(timing.made[name]) for name, n in self._work.items())
        for one in spilled:
            work += BYTE * one.nbytes * (1 + len(timing.read[one.name] - timing.made[one.name]))
        disk = packed([SlotRequest(one.name, one.nbytes, one.first, one.last) for one in spilled]).size
        return _Cost(work, disk, tuple(one.name for one in stored), tuple(one.name for one in spilled))

    def _nbytes(self, name: str) -> int:
        """Of a tensor that would be stored instead, as if it had the widest type of all that is."""
        if name in self._known:
            return self._known[name].nbytes
        widest = max((one.nbytes // max(prod(one.sizes), 1) for one in self._known.values()), default=8)
        return self._samples(name) * widest

    def _samples(self, name: str) -> int:
        return prod(self._net.net.values[name].layout.sizes)
