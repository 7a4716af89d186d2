"""Nets that move an axis round its end, cut it into windows, and let masks cut what the move joined: local as a whole,
though not operator by operator (see propagate/step_law.py). Their law is found at small sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from fractions import Fraction

from ..errors import OverlapcalcError
from ..ops import plain_name
from ..ops.graph import Graph, Shapes, constants_in
from ..ops.law import Cause
from ..propagate.alike import same_calls
from ..propagate.at_size import UnlikeError
from ..propagate.looped import followed
from ..propagate.step_law import StepLaw, TooShortError
from ..propagate.unrolled import Loop
from ..propagate.values import Propagation

STEPS = (10, 18, 34)
"""How many steps an axis has at which the net is looked at, until steps inside the image are alike."""
BESIDE = 5
"""About how many steps other axes have there."""
TRIED = 11
"""At so many steps it must run: a prime, at which few run whose step is a multiple."""
FURTHER = 3
"""How many steps larger the law is held against the net once more."""

GraphAt = Callable[[Shapes], Graph]


def windowed(net: Propagation, graph: GraphAt) -> tuple[Propagation, Shapes | None]:
    """The net with a law for each axis along which only moves round the end stand in the way, that masks undo; and the
    shapes that showed it, None where there is no such axis."""
    axes = _moved_axes(net)
    if not axes or not any(c.marks for node in net.traced for c in constants_in(node.args.values())):
        return net, None
    search = _Search(net, graph, axes)
    found, there = net, None
    for axis in axes:
        seen = search.loop(axis)
        linked = followed(found, seen[0]) if seen is not None else None
        if seen is not None and linked is not None:
            found, there = linked, seen[1]
    return found, there


def _moved_axes(net: Propagation) -> list[str]:
    """The axes along which a tensor is moved round its end, if one input alone has them."""
    found = {o.axis for o in net.obstacles if o.cause == Cause.REORDER.value}
    return sorted(axis for axis in found if sum(a == axis for _, a in net.slots) == 1)


class _Search:
    """Looks at a net at small sizes."""

    def __init__(self, net: Propagation, graph: GraphAt, axes: list[str]) -> None:
        self._net, self._graph = net, graph
        self._steps = self._found(axes, {})
        if not self._steps and len(axes) > 1:
            for axis in axes:
                beside = {a: self._small(a, BESIDE) for a in self._steps}
                self._steps |= self._found([axis], beside)

    def loop(self, axis: str) -> tuple[Loop, Shapes] | None:
        """The law along an axis, and the shapes that it was held against last."""
        step = self._steps.get(axis)
        if step is None:
            return None
        for steps in STEPS:
            try:
                return self._at(axis, step, steps)
            except TooShortError:
                continue
            except (UnlikeError, OverlapcalcError):
                return None
        return None

    def _at(self, axis: str, step: int, steps: int) -> tuple[Loop, Shapes]:
        own = self._net.size(self._input(axis), axis) or 0
        size = own % step + steps * step
        beside = {a: self._small(a, BESIDE) for a in self._steps if a != axis}
        here, there = (self._graph(self._shapes({**beside, axis: n})) for n in (size, size + step))
        law = StepLaw(here, there, axis)
        further = self._shapes({**beside, axis: size + FURTHER * step})
        law.hold(self._graph(further), FURTHER)
        if own < size:
            law.hold(self._graph(self._shapes({**beside, axis: own})), (own - size) // step)
        elif own > size:
            law.hold_calls(self._graph(self._shapes({**beside, axis: own})), (own - size) // step)
        same_calls(here, self._net.traced)
        spare = 0
        with suppress(UnlikeError, OverlapcalcError):
            law.hold(self._graph(self._shapes({**beside, axis: size - law.least * step})), -law.least)
            spare = law.least
        name = self._input(axis)
        return Loop(axis, None, {name: size - spare * step}, {name: step}, law.laws()), further

    def _small(self, axis: str, steps: int) -> int:
        """A length of so many steps, if the net is not as short itself."""
        own, step = self._net.size(self._input(axis), axis) or 0, self._steps[axis]
        return min(own, own % step + steps * step)

    def _shapes(self, sizes: Mapping[str, int]) -> Shapes:
        shapes = []
        for name in self._net.graph.inputs:
            labels = self._net.values[name].labels
            shapes.append(tuple(sizes.get(a, n) for a, n in zip(labels, self._net.graph[name].shape, strict=True)))
        return tuple(shapes)

    def _input(self, axis: str) -> str:
        return next(name for name, a in self._net.slots if a == axis)

    # ---- steps --------------------------------------------------------------------------------------------

    def _found(self, axes: list[str], beside: Mapping[str, int]) -> dict[str, int]:
        """The smallest number of samples by which these axes can grow such that the net runs the same operators;
        nothing where there is none. beside: the lengths of other axes."""
        own = {axis: self._net.size(self._input(axis), axis) or 0 for axis in axes}
        mine = _operators(self._net.traced)
        for step in self._candidates(axes[0], own[axes[0]]):
            sizes = {axis: n % step + TRIED * step for axis, n in own.items()}
            with suppress(OverlapcalcError):
                if _operators(self._graph(self._shapes({**beside, **sizes}))) == mine:
                    return dict.fromkeys(axes, step)
        return {}

    def _candidates(self, axis: str, own: int) -> Iterator[int]:
        """Samples of the input for each length of a piece into which what is moved may be cut."""
        rates, pieces = set[Fraction](), set[int]()
        for node in self._net.traced:
            pieces.update(n for n in node.shape if n > 1)
        for name in self._net.values:
            node = self._net.graph[name]
            if any(o.layer == self._net.names.get(name) and o.axis == axis and o.cause == Cause.REORDER.value
                   for o in self._net.obstacles):  # fmt: skip
                rates.update(_rate(own, n) for n in node.shape if n > 1)
        found = {int(rate * n) for rate in rates for n in pieces if (rate * n).denominator == 1}
        yield from sorted(n for n in found if 1 < n <= own)


def _operators(graph: Graph) -> list[tuple[str, int, str]]:
    return [(plain_name(node), node.result, node.layer) for node in graph]


def _rate(own: int, n: int) -> Fraction:
    """Samples of the input for one of a tensor with n of them, a few of which may be padding.

    >>> _rate(38, 40), _rate(24, 48)
    (Fraction(1, 1), Fraction(1, 2))
    """
    return Fraction(own, n) if own % n == 0 or n % own == 0 else Fraction(max(1, round(own / n)))
