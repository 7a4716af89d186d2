"""Sizes far from that of a net, at which to look whether it is the same."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from ..ops.graph import Graph, Shapes
from ..ops.place import constants_at
from ..propagate.scaling import grow, samples
from ..propagate.values import Propagation

MOST_VALUES = 1 << 26
"""No trace far away where a net's constants could have more values than this."""
FAR_ENOUGH = 1024
"""An axis need not get longer by more samples than this."""


def far(net: Propagation, near: Mapping[str, int], *, shrink: bool = False) -> dict[str, int]:
    """Steps such that the first axis about doubles, the next one trebles, and so on; empty where the constants of the
    net might then be too large. Prime multiples of the steps `near`, all different. shrink: about half and two thirds
    shorter, 0 where an axis has too few steps."""
    found: dict[str, int] = {}
    steps = {axis: _steps(net, axis) for axis in near}
    for i, axis in enumerate(sorted(near)):
        length, per_step = steps[axis]
        have = max(1, -(-min(length, FAR_ENOUGH) // (per_step * near[axis])))
        if shrink:
            found[axis] = max((length - 1) // (per_step * near[axis]) * (i + 1) // (i + 2), 0) * near[axis]
            continue
        wanted = have * (i + 1) + 1
        while not _prime(wanted) or wanted * near[axis] in found.values():
            wanted += 1
        found[axis] = wanted * near[axis]
    if shrink:
        return found
    before, after = (prod(samples(net.graph, shapes)) for shapes in (shapes_of(net), grow(net, found)[0]))
    return found if most_values(net.graph) * (after / before) ** 2 <= MOST_VALUES else {}


def most_values(graph: Graph) -> int:
    """The number of values of the largest constant that the net makes, perhaps from the image's size."""
    return max((prod(c.shape) for node in graph for _, c in constants_at(node.args) if c.made), default=0)


def shapes_of(net: Propagation) -> Shapes:
    return tuple(net.graph[name].shape for name in net.graph.inputs)


def _steps(net: Propagation, axis: str) -> tuple[int, int]:
    """The length of the longest input along an axis, and how many of its samples make a step."""
    moved = grow(net, {axis: 1})[1]
    lengths = [(net.size(inp, axis) or 1, moved[inp][axis]) for inp, a in net.slots if a == axis]
    return max(lengths)


def _prime(n: int) -> bool:
    return n > 1 and all(n % k for k in range(2, int(n**0.5) + 1))
