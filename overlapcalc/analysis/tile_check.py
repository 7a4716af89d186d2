"""Is the net on a tile the same net as on the image? The analysis compares with a larger image, not a smaller one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..errors import OverlapcalcError
from ..ops.graph import Shapes
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
    along = frozenset(cuts.keys() & net.loops.keys())
    own, turned = _turned(net, shapes_after(net, {})), _turned(net, wanted)
    if along and (own is None or turned is None):
        return along
    try:
        if own is not None and turned is not None:
            few = variants.retrace(own, False)
            cuts = {
                axis: replace(cut, like=_same_node(net, few, cut.like))
                for axis, cut in cuts.items()
                if axis not in along
            }
            if not cuts:
                return frozenset()
            net, wanted = few, turned
        small = variants.retrace(wanted, False)
    except OverlapcalcError:
        return frozenset(cuts)
    small = propagate(adopted(small.traced, net.traced), names=small.names, views=views_of(net, small.traced))
    moved = {
        name: samples_lost(net, twin, cuts) for name, twin in zip(small.graph.order, net.graph.order, strict=False)
    }
    found = {axis for axes in differences(small, net, moved, refused_in=net).values() for axis in axes}
    return frozenset(found & set(cuts))


def _same_node(net: Propagation, other: Propagation, name: str) -> str:
    """An input or output of a net, at another size."""
    return next((b for (_, a), (_, b) in zip(net.graph.outputs, other.graph.outputs, strict=True) if a == name), name)


def _turned(net: Propagation, shapes: Shapes) -> Shapes | None:
    """These shapes with as few turns of its loops as tell what the net is at any number of them; None for a net without
    loops, and where these are too few turns."""
    if not net.loops:
        return None
    found = {name: list(shape) for name, shape in zip(net.graph.inputs, shapes, strict=True)}
    for axis, loop in net.loops.items():
        places = {name: net.values[name].labels.index(axis) for name in loop.start}
        turns = loop.turns_at({name: found[name][d] for name, d in places.items()})
        if turns is None or turns < 0:
            return None
        for name, d in places.items():
            found[name][d] = loop.start[name]
    return tuple(map(tuple, found.values()))
