"""Is the net on a tile the same net as on the image? The analysis compares with a larger image, not a smaller one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..errors import OverlapcalcError
from ..ops.graph import Shapes
from ..propagate.alike import same_calls
from ..propagate.at_size import UnlikeError
from ..propagate.compare import adopted, differences, views_of
from ..propagate.forward import propagate
from ..propagate.grid import Grid
from ..propagate.values import Propagation
from .variants import Variants


@dataclass(frozen=True)
class Cut:
    """Steps cut off one axis, from everything that moves with the tensor `like`."""

    steps: int
    like: str


def shapes_after(net: Propagation, cuts: Mapping[str, Cut]) -> tuple[tuple[int, ...], ...]:
    """The shapes of the inputs after these cuts."""
    shapes = []
    for name in net.graph.inputs:
        shape, labels, lost = net.graph[name].shape, net.values[name].labels, samples_lost(net, name, cuts)
        shapes.append(tuple(n - lost.get(axis, 0) for n, axis in zip(shape, labels, strict=True)))
    return tuple(shapes)


def samples_lost(net: Propagation, name: str, cuts: Mapping[str, Cut]) -> dict[str, int]:
    """How many samples shorter these cuts make a tensor, per axis."""
    found = {}
    for axis, cut in cuts.items():
        grid = Grid(net, axis)
        if grid.same(name, cut.like):
            found[axis] = cut.steps * grid.per_step(name)
    return found


def differing_axes(variants: Variants, net: Propagation, cuts: Mapping[str, Cut]) -> frozenset[str]:
    """The axes along which the net on inputs cut this way is another net; all of `cuts` where it does not run.

    Traces the net there and compares it call by call.
    """
    cuts = {axis: cut for axis, cut in cuts.items() if cut.steps}
    if not cuts:
        return frozenset()
    wanted = shapes_after(net, cuts)
    try:
        if net.loops:
            return _with_turns(variants, net, cuts, wanted)
        small = variants.retrace(wanted, False)
    except OverlapcalcError:
        return frozenset(cuts)
    return _differing(small, net, cuts)


def _differing(small: Propagation, net: Propagation, cuts: Mapping[str, Cut]) -> frozenset[str]:
    """The axes along which a net is another one after these cuts, call by call."""
    small = propagate(adopted(small.traced, net.traced), names=small.names, views=views_of(net, small.traced))
    moved = {
        name: samples_lost(net, twin, cuts) for name, twin in zip(small.graph.order, net.graph.order, strict=False)
    }
    found = {axis for axes in differences(small, net, moved, refused_in=net).values() for axis in axes}
    return frozenset(found & set(cuts))


def _with_turns(variants: Variants, net: Propagation, cuts: Mapping[str, Cut], wanted: Shapes) -> frozenset[str]:
    """The same for a net with loops over samples: on a tile, it must have the turns that the tile is long."""
    graph, along = net.traced, frozenset(cuts.keys() & net.loops.keys())
    for axis in along:
        loop = net.loops[axis]
        places = {name: net.values[name].labels.index(axis) for name in loop.start}
        shapes = dict(zip(net.graph.inputs, wanted, strict=True))
        turns = loop.turns_at({name: shapes[name][d] for name, d in places.items()})
        if turns is None:
            return along
        if loop.unrolled is None:
            continue
        graph = loop.unrolled.at(turns)
        if len(cuts) == 1 and variants.graph is not None:
            return frozenset() if loop.unrolled.agrees(turns, variants.graph(wanted)) else along
    stepped = {axis: cut for axis, cut in cuts.items() if axis in along and net.loops[axis].unrolled is None}
    if stepped:
        if graph is not net.traced or variants.graph is None:
            return along  # loops beside it
        graph = variants.graph(shapes_after(net, stepped))
        try:
            same_calls(net.traced, graph)
        except UnlikeError:
            return along
        if len(stepped) == len(cuts):
            return frozenset()
    like = propagate(graph)
    nodes = {**dict(zip(net.traced.inputs, graph.inputs, strict=True))}
    nodes |= {a: b for (_, a), (_, b) in zip(net.traced.outputs, graph.outputs, strict=True)}
    others = {axis: replace(cut, like=nodes[cut.like]) for axis, cut in cuts.items() if axis not in along}
    return _differing(variants.retrace(wanted, False), like, others)
