"""A staged net cut into passes, each of which is a net of its own that a stream runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from ...algebra.spans import Span
from ...propagate.far import far_reads
from ...propagate.split import split_telling_bands
from ...propagate.staged import Barrier, Staged, sub_net
from ...propagate.stream_front import telling_bands
from ...propagate.values import Propagation
from .timing import Timing


@dataclass(frozen=True)
class Pass:
    """One pass over the image.

    net: what is computed, as a net of its own; its outputs are all that leaves the pass, named as their nodes. before:
    what is made before it begins, in order: results of barriers that run whole, and tensors that are given whole.
    stores: what later passes read. takes: reductions that are accumulated, by the names of their results. outputs: of
    the whole net, as pairs (name shown, node), band by band; ended: those that are given out when the pass has ended.
    reads: tensors that were stored by other passes, read band by band. again: what an earlier pass computed too. last:
    stored tensors, and others that are held, that no later pass reads.
    """

    number: int
    net: Propagation
    before: tuple[str, ...]
    stores: tuple[str, ...]
    takes: tuple[str, ...]
    outputs: tuple[tuple[str, str], ...]
    ended: tuple[tuple[str, str], ...]
    reads: tuple[str, ...]
    again: tuple[str, ...]
    last: frozenset[str]

    def bands(self, axis: str, rows: int) -> Iterator[Mapping[str, Span]]:
        """What leaves in each band, by the names of nodes: the same share of every tensor, at most `rows` samples of
        the longest tensor of the pass."""
        sizes = {shown: self.net.size(node, axis) for shown, node in self.net.graph.outputs}
        lengths = {shown: size for shown, size in sizes.items() if size is not None}
        longest = max((self.net.size(name, axis) or 0 for name in self.net.graph.order), default=0)
        count = -(-longest // rows) if lengths else 0
        for i in range(count):
            spans = {shown: share(size, i, count) for shown, size in lengths.items()}
            yield {shown: span for shown, span in spans.items() if span is not None}


def share(size: int, i: int, count: int) -> Span | None:
    """The i-th of `count` equal parts of an axis; None if no sample begins in it.

    >>> [str(share(5, i, 3)) for i in range(3)], share(1, 1, 2)
    (['[0, 2)', '[2, 4)', '[4, 5)'], None)
    """
    start, stop = -(-size * i // count), -(-size * (i + 1) // count)
    return Span(start, stop) if start < stop else None


def telling(one: Pass, axis: str, rows: int) -> int:
    """How many of the first bands of a pass show what all of them hold."""
    bands = islice(one.bands(axis, rows), MOST)
    return (
        split_telling_bands(one.net, axis, bands, FEW)
        if any(far_reads(one.net, axis))
        else telling_bands(one.net, axis, bands, FEW)
    )


FEW, MOST = 3, 96
"""At least and at most this many bands."""


def passes(net: Staged, again: frozenset[str] = frozenset()) -> tuple[Pass, ...]:
    """The passes of a staged net, in order. again: nodes that every pass that reads them computes anew."""
    cutter = _Cutter(net, again)
    return tuple(cutter.made(number) for number in range(cutter.count))


class _Cutter:
    def __init__(self, net: Staged, again: frozenset[str]) -> None:
        self._net, self._all, self._graph = net, net.net, net.net.graph
        self._timing = Timing.of(net, again)
        self._made = self._timing.made
        self._stored = self._timing.stored(node.name for node in self._graph if node.op != "input")
        self._by_band = {shown: node for shown, node in self._graph.outputs if self._leaves_by_band(node)}
        self._late = {node: self._given_at(node) for shown, node in self._graph.outputs if shown not in self._by_band}
        self.count = max(map(self._given_at, self._graph.order)) + 1

    def made(self, number: int) -> Pass:
        nodes = [node for node in self._graph if number in self._made[node.name] and node.op != "input"]
        here = {node.name for node in nodes}
        takes = [name for name, b in self._net.barriers.items() if b.reduction and b.stage - 1 == number]
        stores = [name for name, (first, _) in self._stored.items() if first == number]
        late = [(shown, node) for shown, node in self._graph.outputs if self._late.get(node) == number
                and shown not in self._by_band]  # fmt: skip
        stores += [node for _, node in late if node in here and node not in stores]
        outputs = [(shown, n) for shown, n in self._by_band.items() if min(self._made[n]) == number]
        leaving = [*stores, *(o for name in takes for o in self._net.barriers[name].node.operands)]
        leaving = list(dict.fromkeys([*leaving, *(node for _, node in outputs)]))
        sub = sub_net(self._all, nodes, leaving)
        stored = self._net.swept | self._net.stored.keys()
        reads = [n for n in sub.graph.inputs if self._graph[n].op != "input" or n in stored]
        return Pass(
            number,
            sub,
            tuple(self._before(number)),
            tuple(stores),
            tuple(takes),
            tuple(outputs),
            tuple(late),
            tuple(self._net.stored.get(name, name) for name in reads),
            tuple(node.name for node in nodes if min(self._made[node.name]) < number),
            frozenset(name for name in self._graph.order if self._last(name) == number),
        )

    def _before(self, number: int) -> Iterator[str]:
        for name in self._graph.order:
            barrier: Barrier | None = self._net.barriers.get(name)
            whole = name in self._net.whole or (barrier is not None and not barrier.reduction)
            if whole and self._net.stages[name] == number:
                yield name

    def _last(self, name: str) -> int:
        read = self._timing.read[name] if self._graph[name].op == "input" else self._stored.get(name, ())
        return max([*read, *([self._late[name]] if name in self._late else ())], default=-1)

    def _given_at(self, name: str) -> int:
        """The pass that makes a tensor: before it begins, in its course, or when it ends."""
        barrier = self._net.barriers.get(name)
        return min(self._made[name]) - (barrier is not None and barrier.reduction)

    def _leaves_by_band(self, node: str) -> bool:
        layout = self._all.values[node].layout
        return layout.simple and self._net.axis in layout.labels and self._graph[node].op != "input"
