"""Image sizes some steps larger, and how much longer each tensor of a net gets there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod

from ..ops.graph import Graph, Shapes
from .grid import Grid
from .values import Propagation


def samples(graph: Graph, shapes: Shapes) -> Iterator[int]:
    """How many positions each input of such a shape has along its axes."""
    for name, shape in zip(graph.inputs, shapes, strict=True):
        yield prod(n for n, axis in zip(shape, graph[name].axes, strict=True) if axis)


def skewed(times: Mapping[str, int]) -> dict[str, int]:
    """The second axis grows twice as much as the first, and so on: a net that looks at the difference or the ratio
    of two sides must not see the same values again.

    >>> skewed({"H": 2, "W": 2})
    {'H': 2, 'W': 4}
    """
    return {axis: steps * (1 + i) for i, (axis, steps) in enumerate(sorted(times.items()))}


def stretch(net: Propagation, larger: Shapes) -> Mapping[str, Mapping[str, int]] | None:
    """How much longer each tensor gets when the inputs get these shapes; None where that is not whole steps."""
    steps = steps_to(net, larger)
    return None if steps is None else grow(net, steps)[1]


def steps_to(net: Propagation, larger: Shapes) -> dict[str, int] | None:
    """How many steps along each axis make the inputs these shapes; None where no whole number does."""
    steps: dict[str, int] = {}
    for name, shape in zip(net.graph.inputs, larger, strict=True):
        for axis, n, m in zip(net.values[name].labels, net.graph[name].shape, shape, strict=True):
            if axis in net.values[name].rates:
                whole, rest = divmod(m - n, Grid(net, axis).per_step(name))
                if rest or steps.setdefault(axis, whole) != whole:
                    return None
    return steps if grow(net, steps)[0] == larger else None


def grow(net: Propagation, steps: Mapping[str, int]) -> tuple[Shapes, Mapping[str, Mapping[str, int]]]:
    """Input shapes larger by these numbers of steps along each axis, and how much longer that makes each tensor."""
    moved: dict[str, dict[str, int]] = {name: {} for name in net.values}
    for axis in steps:
        grid = Grid(net, axis)
        for name, value in net.values.items():
            if axis in value.rates:
                moved[name][axis] = steps[axis] * grid.per_step(name)
    shapes = []
    for name in net.graph.inputs:
        labels = net.values[name].labels
        shapes.append(tuple(n + moved[name].get(a, 0) for n, a in zip(net.graph[name].shape, labels, strict=True)))
    return tuple(shapes), moved
