"""Nets that take the samples of an axis one after another, in a loop of Python: they have more operators, the longer
the axis is. No law that holds at every size is in sight there, whatever each operator does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile

from ..errors import TraceError
from ..ops.graph import Graph, Shapes
from ..ops.law import HELP, Cause
from ..propagate.scaling import grow
from ..propagate.values import Obstacle, Propagation


def unrolled_axes(net: Propagation, graph: Callable[[Shapes], Graph], away: Mapping[str, int]) -> dict[str, Obstacle]:
    """Axis -> the obstacle, for each axis along which every step adds as many operators as the one before. Padding to a
    multiple adds operators too, but not as many at each of two steps. away: steps by which the net has more operators;
    where the axes found account for all of them, there is no need to try others."""
    found: dict[str, Obstacle] = {}
    rest = len(graph(grow(net, away)[0]).order) - len(net.traced.order)
    for axis in sorted({axis for _, axis in net.slots}):
        try:
            larger = graph(grow(net, {axis: 1})[0])
            more = len(larger.order) - len(net.traced.order)
            again = len(graph(grow(net, {axis: 2})[0]).order) - len(larger.order) if more > 0 else 0
        except TraceError:
            continue
        if again == more > 0:
            found[axis] = _obstacle(net, axis, larger, more)
            rest -= more * away[axis]
        if found and not rest:
            break
    return found


def _obstacle(net: Propagation, axis: str, larger: Graph, more: int) -> Obstacle:
    same = sum(1 for _ in takewhile(lambda ab: ab[0].op == ab[1].op, zip(net.traced, larger, strict=False)))
    layers = [node.layer.split(".") for node in list(larger)[same : same + more]]
    return Obstacle(
        layer=".".join(column[0] for column in takewhile(_all_equal, zip(*layers, strict=False))) or "forward",
        op="loop",
        axis=axis,
        cause=Cause.LOOP.value,
        message=f"forward takes the samples of the axis one after another: {more} operators more with every step",
        help=HELP[Cause.LOOP],
    )


def _all_equal(names: Sequence[str]) -> bool:
    return len(set(names)) == 1
