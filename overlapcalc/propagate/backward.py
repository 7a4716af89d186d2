"""Backward through the graph: exactly which samples of every tensor a span of outputs needs.

Sets, not hulls, so nothing is lost on the way. With sizes the answer is exact at the borders (every node clips,
clamps or mirrors at its own ends); without, it is the law of the interior.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ..algebra.cells import Field
from ..algebra.spans import EMPTY, Span, Spans
from .values import AxisRead, Propagation


@dataclass(frozen=True)
class BackwardReads:
    """Along one axis: what is read of each input, and the hull of what must exist of each tensor on the way.

    `exist` includes samples that read nothing (bias only), and the end sample where a reflecting border is crossed:
    there the real border must be inside the tile. `live`: the paths (node, index) through which anything is read.
    """

    reads: Mapping[str, Spans]
    exist: Mapping[str, Span]
    live: frozenset[tuple[str, int]]

    def moved(self, by: Callable[[str], int]) -> BackwardReads:
        """The same some samples later: by so many of each tensor."""
        reads = {name: spans.shift(by(name)) for name, spans in self.reads.items()}
        return BackwardReads(reads, {name: span.shift(by(name)) for name, span in self.exist.items()}, self.live)


Live = Sequence[frozenset[tuple[str, int]]]
"""Paths (node, index) through which anything is read, by each of some other axes."""


def interior(net: Propagation, output: str, axis: str, outputs: Spans, live: Live = ()) -> BackwardReads:
    """What `outputs` of node `output` need along `axis`, far from any border."""
    return _demand(net, output, axis, outputs, sized=False, live=live)


def sized(net: Propagation, output: str, axis: str, outputs: Spans, live: Live | None = None) -> BackwardReads:
    """What `outputs` of node `output` need along `axis` at the traced size, borders included. live: `live_paths`, where
    they are known.

    A path that reads only padding along another axis, at this size, reads nothing at all.
    """
    live = live_paths(net, output, axis) if live is None else live
    return _demand(net, output, axis, outputs, sized=True, live=live)


def live_paths(net: Propagation, output: str, axis: str) -> Live:
    """The paths to node `output` through which anything is read at the traced size, by each axis other than `axis`."""
    live = []
    for other in net.values[output].rates:
        length = net.size(output, other)
        followed = all(other in path.axes for value in net.values.values() for path in value.paths)
        if other != axis and length is not None and followed:  # behind an obstacle, nothing can be ruled out
            live.append(_demand(net, output, other, Spans.span(0, length), sized=True, live=[]).live)
    return live


def _demand(net: Propagation, output: str, axis: str, outputs: Spans, *, sized: bool, live: Live) -> BackwardReads:
    exist: dict[str, Span] = {}
    start: Field[Spans] = Field.one(net.values[output].cells.shape, outputs)
    wanted: dict[str, Field[Spans]] = {output: start}
    reads: dict[str, Spans] = {}
    used: set[tuple[str, int]] = set()
    for name in reversed(net.graph.order):
        field = wanted.pop(name, None)
        if field is None:
            continue
        total = field.union(_either)
        hull = total.hull
        if hull is None:
            continue
        exist[name] = _widened(net, name, axis, hull, sized).joined(exist.get(name))
        node = net.graph[name]
        if node.op == "input":
            reads[name] = total
            continue
        for place, path in enumerate(net.values[name].paths):
            along = path.axes.get(axis)
            if along is None or any((name, place) not in paths for paths in live):
                continue
            edges: list[int] = []
            pull = partial(_pull, along, net.size(path.operand, axis) if sized else None, edges)
            pulled = (field.map(_from_start) if sized and axis in path.states else field).map(pull)
            if any(pulled.values):
                used.add((name, place))
            needed = path.cells.scatter(pulled, _either, EMPTY)
            for edge in edges:
                exist[path.operand] = Span(edge, edge + 1).joined(exist.get(path.operand))
            old = wanted.get(path.operand)
            wanted[path.operand] = needed if old is None else old.merge(needed, _either)
    return BackwardReads(reads, exist, frozenset(used))


def _widened(net: Propagation, name: str, axis: str, hull: Span, sized: bool) -> Span:
    """With the margins of constants that are made for the size, within the tensor where its size counts."""
    value, (start, stop) = net.values[name], hull
    for d, before, after in value.law.margins:
        if value.labels[d] == axis:
            start, stop = min(start, hull.start - before), max(stop, hull.stop + after)
    size = net.size(name, axis) if sized else None
    return Span(start, stop) if size is None else Span(max(start, 0), min(stop, size))


def _pull(along: AxisRead, size: int | None, edges: list[int], outs: Spans) -> Spans:
    """What an axis reads for `outs`; with a size, the real samples. Notes the end samples of a mirror it crosses."""
    if size is None:
        return along.reads.over(outs)
    real, left, right = along.real(outs, size)
    if along.border.mirrors:
        edges.extend([0] if left else [])
        edges.extend([size - 1] if right else [])
    return real


def _from_start(outs: Spans) -> Spans:
    return EMPTY if outs.hull is None else Spans.span(0, outs.hull.stop)


def _either(a: Spans, b: Spans) -> Spans:
    return a | b
