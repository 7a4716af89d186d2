"""Nets that take the samples of an axis one after another, in a loop of Python: they have more operators, the longer
the axis is. No law that holds at every size is in sight there, whatever each operator does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile

from ..errors import TraceError
from ..ops.graph import Graph, Node, Shapes
from ..ops.law import HELP, Cause
from ..propagate.scaling import grow
from ..propagate.values import Obstacle, Propagation

STEPS = (1, 2, 4)
"""How many steps such a net takes at a time."""


def unrolled_axes(net: Propagation, graph: Callable[[Shapes], Graph], away: Mapping[str, int]) -> dict[str, Obstacle]:
    """Axis -> the obstacle, for each axis along which every step (or every few) adds as many operators as the one
    before, and so on far away. Operators by the size modulo something are not as many there.

    away: steps by which the net has more operators; where the axes found account for them, no others are tried.
    """
    found: dict[str, Obstacle] = {}
    every = len(graph(grow(net, away)[0]).order) - len(net.traced.order)
    rest, most = every, 0
    for axis in sorted({axis for _, axis in net.slots}):
        for steps in STEPS:
            try:
                larger = graph(grow(net, {axis: steps})[0])
                more = len(larger.order) - len(net.traced.order)
                again = len(graph(grow(net, {axis: 2 * steps})[0]).order) - len(larger.order) if more > 0 else 0
            except TraceError:
                break
            if again == more > 0 and more * (away[axis] // steps) <= every:
                found[axis] = _obstacle(net, axis, larger, more, steps)
                rest, most = rest - more * (away[axis] // steps), max(most, more)
            if more <= 0 or axis in found:
                break
        if found and 0 <= rest < most:
            break
    return found if rest >= 0 else {}


def _obstacle(net: Propagation, axis: str, larger: Graph, more: int, steps: int) -> Obstacle:
    every = "with every step" if steps == 1 else f"with every {steps} steps"
    same = sum(1 for _ in takewhile(lambda ab: ab[0].op == ab[1].op, zip(net.traced, larger, strict=False)))
    return loop_obstacle(axis, list(larger)[same : same + more], every)


def loop_obstacle(axis: str, turn: Sequence[Node], every: str) -> Obstacle:
    """A loop over the samples of an axis, of which no law is known. turn: the nodes that it has more, and how often."""
    layers = [node.layer.split(".") for node in turn]
    return Obstacle(
        layer=".".join(column[0] for column in takewhile(_all_equal, zip(*layers, strict=False))) or "forward",
        op="loop",
        axis=axis,
        cause=Cause.LOOP.value,
        message=f"forward takes the samples of the axis one after another: {len(turn)} operators more {every}",
        help=HELP[Cause.LOOP],
    )


def _all_equal(names: Sequence[str]) -> bool:
    return len(set(names)) == 1
