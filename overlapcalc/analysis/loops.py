"""Nets that take the samples of an axis a few at a time, in a loop of Python: from their graphs at two sizes follows
what they are at any number of turns, and so what their outputs read, for as many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import gcd

from ..errors import OverlapcalcError
from ..ops.graph import Graph, Shapes
from ..propagate.cell_needs import within
from ..propagate.compare import Differing, views_of
from ..propagate.grid import Grid
from ..propagate.loop_law import loop_laws
from ..propagate.looped import followed
from ..propagate.scaling import grow
from ..propagate.unrolled import Loop, Unrolled, turns_in, unrolled
from ..propagate.values import Obstacle, Propagation
from .comparison import Comparison
from .unrolled import loop_obstacle

STEPS = range(1, 33)
"""How many samples such a net may take at a time."""
MOST_AGAIN = 1500
"""The largest net, in nodes, that is traced with twice as many turns as well."""
FEW = 3
"""The number of turns, looking alike, from which on the net is looked at with fewer samples instead of more."""
MOST_BASES = 4
"""How many sizes are tried, one turn apart, until two turns are alike."""


@dataclass(frozen=True)
class Turning:
    """A loop over the samples of an axis. base: how many turns more than the net itself `unrolled.graph` has. step: how
    many samples a turn takes."""

    axis: str
    unrolled: Unrolled
    base: int
    step: int

    def shapes(self, net: Propagation, turns: int) -> Shapes:
        """The shapes of the inputs with so many turns more than `unrolled.graph` has."""
        return _longer(net, self.axis, (self.base + turns) * self.step)

    def _loop(self, net: Propagation) -> Loop | None:
        """The loop with the laws of all outputs; None where an output has none."""
        found = loop_laws(self.unrolled, self.axis)
        if found is None:
            return None
        laws = tuple(found[node] for _, node in self.unrolled.graph.outputs)
        if self.base > 0 and not within(net.traced, self.axis, laws):
            return None  # with fewer turns it is another net
        here, there = (self._lengths(net, self.shapes(net, k)) for k in (0, 1))
        steps = {name: there[name] - n for name, n in here.items()}
        return Loop(self.axis, self.unrolled, here, steps, laws)

    def _names(self, name: str, net: Propagation) -> list[str]:
        """The nodes of the net that correspond to a node at another number of turns."""
        traced, slash, step = name.partition("/")
        own = self.unrolled.home(traced, -self.base, net.traced)
        return [found for found in (f"{at}{slash}{step}" for at in own) if found in net.values]

    def settled(
        self,
        net: Propagation,
        away: Mapping[str, int],
        graph: Callable[[Shapes], Graph],
        compared: Callable[[Propagation, Mapping[str, int]], Comparison],
        propagated: Callable[..., Propagation],
    ) -> tuple[Propagation, Shapes] | None:
        """The net with the law of its loop, or the one obstacle that this is, and the shapes at which that was held
        against it; None where the loop is another one there. Along the other axes it is compared with itself, too."""
        others = {axis: n for axis, n in away.items() if axis != self.axis}
        if {axis for _, axis in net.slots} - {self.axis} != others.keys():
            return None  # nothing tells what the net is at other lengths of those
        turns = self._third(net, away)
        there = third = self.shapes(net, turns)
        if not others and not self.unrolled.agrees(turns, graph(third)):
            return None
        if self.base < 0 and len(net.traced.order) <= MOST_AGAIN:
            twice = -2 * self.base  # about twice as many as at its own size
            there = self.shapes(net, twice)
            if not self.unrolled.agrees(twice, graph(there)):
                return None
        like = propagated(self.unrolled.at(turns))
        seen = compared(like, others)
        if seen.net is not like or seen.found is None or (seen.found and not self.unrolled.agrees(turns, graph(third))):
            return None
        differing: Differing = {name: {self.axis: ""} for _, name in net.graph.outputs}
        for name, texts in seen.found.items():
            for own in self._names(name, net):
                differing[own] = {**differing.get(own, {}), **texts}
        looped = propagated(
            net.traced, names=net.names, views=views_of(net, net.traced), differing=differing,
            looped={self.axis: self._obstacle()},
        )  # fmt: skip
        loop = self._loop(net)
        known = followed(looped, loop) if loop is not None else None
        return known or looped, seen.larger if others else there

    def _third(self, net: Propagation, away: Mapping[str, int]) -> int:
        """How many turns more than `unrolled.graph` the size has at which a loop is held against the net: not the two
        that it was found at, if it was not held against another one already."""
        if self.base < 0:
            return 0
        turns, rest = divmod(_samples(net, self.axis, away), self.step)
        return turns - self.base if not rest and turns - self.base > 1 else 3

    def _lengths(self, net: Propagation, shapes: Shapes) -> dict[str, int]:
        found = {}
        for name, shape in zip(net.graph.inputs, shapes, strict=True):
            if self.axis in net.values[name].labels:
                found[name] = shape[net.values[name].labels.index(self.axis)]
        return found

    def _obstacle(self) -> Obstacle:
        """The loop as an obstacle, where nothing is known of what it reads."""
        every = "with every sample" if self.step == 1 else f"with every {self.step} samples"
        graph, turn, stop = self.unrolled.graph, self.unrolled.turn, self.unrolled.stop
        return loop_obstacle(self.axis, [graph[name] for name in graph.order[stop - turn : stop]], every)


def inside(net: Propagation, graph: Callable[[Shapes], Graph]) -> Turning | None:
    """The loop that a net shows at its own size, found at smaller ones and held against its own."""
    turn, alike = turns_in(net.traced)
    if alike < FEW:
        return None
    for axis, unit in _units(net).items():
        samples = max((net.size(name, axis) or 0) // n for name, n in unit.items())
        for step in STEPS:
            if not alike <= samples // step + 1 <= alike + FEW + 1:
                continue
            for base in range(2 - alike, min(2 - alike + MOST_BASES, 0)):
                found = _from(net, graph, axis, step, base, turn)
                if found is not None and found.unrolled.agrees(-base, net.traced):
                    return found
    return None


def outside(net: Propagation, graph: Callable[[Shapes], Graph], away: Mapping[str, int]) -> Turning | None:
    """The loop that a net shows far away, found at sizes a few turns larger. away: steps of the grid by which it has
    more operators."""
    large = graph(grow(net, away)[0])
    turn, alike = turns_in(large)
    if not turn:
        return None
    more = (len(large.order) - len(net.traced.order)) / turn
    for axis in _units(net):
        samples = _samples(net, axis, away)
        for step in STEPS:
            if not -1 < samples / step - more < 1:
                continue
            likely = max(0, samples // step + 2 - alike)
            for base in (*range(likely, likely + MOST_BASES), *range(likely)):
                found = _from(net, graph, axis, step, base, turn)
                if found is not None:
                    return found
    return None


def _from(
    net: Propagation, graph: Callable[[Shapes], Graph], axis: str, step: int, base: int, turn: int
) -> Turning | None:
    """The loop that two sizes show, one turn apart: the first has so many turns more than the net."""
    sizes = [_longer(net, axis, k * step) for k in (base, base + 1)]
    if min(map(min, sizes[0])) < 1:
        return None
    try:
        here, there = map(graph, sizes)
    except OverlapcalcError:
        return None
    if len(there.order) - len(here.order) != turn:
        return None
    found = unrolled(here, there)
    return None if found is None else Turning(axis, found, base, step)


def _units(net: Propagation) -> dict[str, dict[str, int]]:
    """By axis and input, how many samples are one of the coarsest input: the grid of the net does not count, which is
    that of all turns together."""
    found: dict[str, dict[str, int]] = {}
    for axis in sorted({axis for _, axis in net.slots}):
        grid = Grid(net, axis)
        steps = {name: grid.per_step(name) for name, other in net.slots if other == axis}
        common = gcd(*steps.values())
        found[axis] = {name: n // common for name, n in steps.items()}
    return found


def _longer(net: Propagation, axis: str, samples: int) -> Shapes:
    """The shapes of the inputs, so many samples longer along an axis."""
    unit, shapes = _units(net)[axis], []
    for name in net.graph.inputs:
        shape, labels = net.graph[name].shape, net.values[name].labels
        shapes.append(tuple(n + samples * unit[name] if a == axis else n for n, a in zip(shape, labels, strict=True)))
    return tuple(shapes)


def _samples(net: Propagation, axis: str, away: Mapping[str, int]) -> int:
    """How many samples these steps of the grid are along an axis."""
    (name, unit), *_ = _units(net)[axis].items()
    return away.get(axis, 0) * Grid(net, axis).per_step(name) // unit
