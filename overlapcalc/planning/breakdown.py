"""The cost of a plan by layer: what each computes beyond the whole image's, and what it holds at the fullest moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..algebra.spans import Span
from ..propagate.stream_front import StreamFront
from ..propagate.values import Propagation
from .costs import Costs
from .crop import kinds
from .plan import Plan
from .slabs import calls, cell_regions


@dataclass(frozen=True)
class Spent:
    """Multiply-accumulates of one layer: of all blocks together, and of the whole image at once."""

    layer: str
    blocks: int
    whole: int

    @property
    def beyond(self) -> int:
        return self.blocks - self.whole


def spent(net: Propagation, made: Plan) -> tuple[Spent, ...]:
    """The work of each layer, starting with the one that computes the most beyond the whole. It sums to the plan's."""
    costs, total, whole = Costs(net), Counter[str](), Counter[str]()
    if made.schedule == "crop":
        for left, times in kinds(made.strips):
            total.update({node: work.macs * times for node, work in costs.each_of(left).items()})
    else:
        for regions, times in calls(net, made.strips, made.stream_axis):
            total.update({node: work.macs * times for node, work in costs.each_on(regions).items()})
    whole.update({node: work.macs for node, work in costs.each_of({}).items()})
    found = [Spent(_name(net, node), total[node], whole[node]) for node in whole]
    return tuple(sorted(found, key=lambda one: -one.beyond))


@dataclass(frozen=True)
class Fullest:
    """The moment at which a block holds the most samples, not counting what kernels need for themselves.

    layer: the one that runs then. held: (layer, samples of its result) for all that is there, the most first.
    """

    layer: str
    held: tuple[tuple[str, int], ...]

    @property
    def samples(self) -> int:
        return sum(samples for _, samples in self.held)


def fullest(net: Propagation, made: Plan) -> Fullest | None:
    """The fullest moment of all blocks; None where nothing is computed. A tensor is held from its computation until its
    last reader has run."""
    costs = Costs(net)
    moments: Iterator[Moment]
    if made.schedule == "crop":
        moments = (
            moment
            for left, _ in kinds(made.strips)
            for moment in _moments(net, {node.name: costs.samples_of(node.name, left) for node in net.graph})
        )
    elif made.schedule == "trim":
        moments = (
            moment
            for regions, _ in calls(net, made.strips, None)
            for moment in _moments(
                net,
                {name: costs.samples_on(name, region) for name, region in regions.items() if not _given(net, name)},
            )
        )
    else:
        moments = _bands(net, made, costs)
    found = max(moments, key=lambda moment: sum(moment[1].values()), default=None)
    if found is None:
        return None
    held = sorted(((_name(net, name), n) for name, n in found[1].items() if n), key=lambda one: -one[1])
    return Fullest(_name(net, found[0]), tuple(held)) if held else None


Moment = tuple[str, Mapping[str, int]]
"""A node that runs, and the samples of everything held then."""


def _moments(net: Propagation, samples: Mapping[str, int]) -> Iterator[Moment]:
    """One run of the calls that compute these tensors."""
    last = {name: name for name in samples}
    for node in net.graph:
        last.update({operand: node.name for operand in node.operands if node.name in samples and operand in samples})
    kept = {node for _, node in net.graph.outputs}
    held: dict[str, int] = {}
    for node in net.graph:
        if node.name not in samples:
            continue
        held[node.name] = samples[node.name]
        yield node.name, dict(held)
        held = {name: n for name, n in held.items() if name in kept or last[name] != node.name}


def _bands(net: Propagation, made: Plan, costs: Costs) -> Iterator[Moment]:
    """The column that holds the most, band by band; of each tensor, the rows that are still to be read."""
    axis = made.stream_axis
    assert axis is not None
    column = {
        other: max(strip.slots, key=lambda slot: sum(span.length for span in slot.tiles.values()))
        for other, strip in made.strips.items()
        if other != axis
    }
    regions = cell_regions(net, column)
    front = StreamFront(net, axis)
    rows: dict[str, Span] = {}
    for slot in made.strips[axis].slots:
        for node, fresh in front.band(slot.outputs):
            if fresh is None or node not in regions:
                continue
            if not _given(net, node):
                rows[node] = Span(rows.get(node, fresh).start, fresh.stop)
                yield node, {n: costs.samples_on(n, {**regions[n], axis: span}) for n, span in rows.items()}
            for name in {node, *net.graph[node].operands} & set(rows):
                unread = front.unread(name)
                if unread is None:
                    del rows[name]
                else:
                    rows[name] = Span(max(unread.start, rows[name].start), rows[name].stop)


def _given(net: Propagation, name: str) -> bool:
    """Whether it is an input, which belongs to the caller."""
    return net.graph[name].op == "input"


def _name(net: Propagation, node: str) -> str:
    return net.names.get(node, node)
