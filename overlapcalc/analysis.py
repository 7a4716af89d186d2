"""The answers: scale, grid, receptive field, context, tile, reads - per pair of output and input, per axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, Generic, TypeVar

from .demand import Demand, interior, sized
from .errors import AmbiguousPair, InputError, ObstacleError, TraceError
from .index import Span, Spans
from .lattice import Lattice
from .layers import LayerRow, layer_rows
from .measure import Sides, context_of, reach_of_one, receptive_field
from .ops.law import HELP, Cause
from .propagator import NOTHING, Obstacle, Propagation, Reach, joined, propagate
from .sizecheck import adopted, differences

SCHEMA_VERSION = 1
T = TypeVar("T")

Retrace = Callable[[tuple[tuple[int, ...], ...], bool], Propagation]
"""Input shapes -> the net there. With True, compared with a larger trace; with False, as it is at that size."""


class Named(Mapping[str, T], Generic[T]):
    """A read-only mapping by name that also takes the place of the name."""

    def __init__(self, items: Mapping[str, T]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: str | int) -> T:
        if isinstance(key, int):
            return list(self._items.values())[key]
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return repr(self._items)


@dataclass(frozen=True)
class AxisGrid:
    """The joint grid of one axis: shifting every input by its `step` shifts every output by its `out_step`."""

    step: Named[int]
    out_step: Named[int]


@dataclass(frozen=True)
class AxisAnalysis:
    """What one output needs of one input along one axis.

    scale: input samples per output sample (None where nothing connects the two). receptive_field: smallest and
    largest number of samples from first to last read by one output. reach: how far the worst single output reads
    beyond its own place. step, out_step: the joint grid. context: outputs `[u*out_step, v*out_step)` read
    `[u*step - before, v*step + after)`; None where they read nothing. tile: what the unmodified net must be fed
    around an interior block, at the analysed size. exact: the reads are minimal, not only sufficient.
    """

    axis: str
    output: str
    input: str
    size: int
    out_size: int | None
    scale: Fraction | None
    receptive_field: tuple[int, int]
    reach: Sides | None
    step: int
    out_step: int | None
    context: Sides | None
    tile: Sides | None
    exact: bool
    exact_before: bool
    exact_after: bool
    _reach: Reach = field(repr=False, compare=False)
    _of: Analysis = field(repr=False, compare=False)

    def reads(self, start: int, stop: int, *, size: int | None = None) -> Span | None:
        """The input span from the first to the last sample that outputs `[start, stop)` depend on, or None.

        Without `size`: the law of the interior, for any integers, not clipped. With `size`: exact at the borders
        too, for an input of that many samples (other axes as analysed; another size than the analysed one costs
        a trace). Raises InputError for an empty span, or one outside the outputs of that size.
        """
        _check_span(start, stop)
        if size is None:
            return self._reach.reads.reads(start, stop) if self._reach.reads is not None else None
        net = self._of._at(self.input, self.axis, size, False)
        output = self._of._output_node(self.output)
        _check_inside(start, stop, net.size(output, self.axis), self.output, self.axis)
        self._clear(net)
        found = sized(net, output, self.axis, Spans.span(start, stop))
        reads = found.reads.get(self._of._input_node(self.input))
        return reads.hull if reads is not None else None

    def tile_span(self, start: int, stop: int, *, size: int | None = None) -> Span:
        """The span of input to feed the unmodified net for outputs `[start, stop)`.

        Both ends on the grid, or `stop` the end of the output; `size` as analysed unless given. The tile lies in
        `[0, size)`, starts on the grid, and its length is congruent to `size` modulo `step`; the net's first output
        on it is output `tile.start / step * out_step`. Raises InputError off the grid.
        """
        _check_span(start, stop)
        size = self.size if size is None else size
        net = self._of._at(self.input, self.axis, size, True)
        output = self._of._output_node(self.output)
        self._clear(net)
        length = net.size(output, self.axis)
        _check_inside(start, stop, length, self.output, self.axis)
        lattice = Lattice(net, self.axis)
        out_step = lattice.per_step(output)
        if start % out_step or (stop % out_step and stop != length):
            raise InputError(
                f"outputs [{start}, {stop}) on {self.axis} do not lie on the grid: start and stop must be multiples of "
                f"{out_step}, or stop the end of the output, {length}"
            )
        found = sized(net, output, self.axis, Spans.span(start, stop))
        first, last = lattice.cut(found, output)
        node = self._of._input_node(self.input)
        if not lattice.same(node, output):
            return Span(0, size)
        step, back = lattice.per_step(node), 1
        while first + last > 0 and not self._runs_on(net, lattice, first + last):
            given = min(last, back)  # too short to run for a reason of its own: longer by 1, 2, 4... steps
            last, first, back = last - given, max(0, first - (back - given)), 2 * back
        return Span(first * step, size - last * step)

    def _runs_on(self, net: Propagation, lattice: Lattice, steps: int) -> bool:
        """Whether the net runs on an input so many steps shorter. Raises ObstacleError where it is another net there.

        What the analysis compares is a larger image; a tile is a smaller one.
        """
        size = net.size(self.input, self.axis)
        assert size is not None
        shorter = size - steps * lattice.per_step(self.input)
        try:
            small = self._of._retrace(self._of._shapes(net, self.input, self.axis, shorter), False)
        except TraceError:
            return False
        small = propagate(adopted(small.graph, net.graph), names=small.names)
        moved: dict[str, dict[str, int]] = {}
        for name, twin in zip(small.graph.order, net.graph.order, strict=False):
            if self.axis in net.values[twin].rates:
                moved[name] = {self.axis: steps * lattice.per_step(twin)}
        for name, axes in differences(small, net, moved).items():
            if self.axis in axes:
                where = small.graph[name]
                at = f" ({where.source})" if where.source else ""
                raise ObstacleError(
                    f"{self.output} cannot be computed from a tile of {shorter} samples along {self.axis}: "
                    f"{small.names[name]}: {where.op} on {self.axis}: {axes[self.axis]}{at}; to change that: "
                    f"{HELP[Cause.SIZE_DEPENDENT]}"
                )
        return True

    def _clear(self, net: Propagation) -> None:
        obstacles = reach_between(
            net, self._of._output_node(self.output), self._of._input_node(self.input), self.axis
        ).via
        if obstacles:
            raise ObstacleError(_no_way(self.output, self.input, self.axis, obstacles))

    def to_dict(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "out_size": self.out_size,
            "scale": None if self.scale is None else str(self.scale),
            "receptive_field": list(self.receptive_field),
            "reach": None if self.reach is None else self.reach.to_dict(),
            "step": self.step,
            "out_step": self.out_step,
            "context": None if self.context is None else self.context.to_dict(),
            "tile": None if self.tile is None else self.tile.to_dict(),
            "exact": self.exact,
            "exact_before": self.exact_before,
            "exact_after": self.exact_after,
        }


@dataclass(frozen=True)
class Pair:
    """One output against one input: `pair["W"]` is an AxisAnalysis, or raises ObstacleError."""

    output: str
    input: str
    axes: tuple[str, ...]
    _of: Analysis = field(repr=False, compare=False)

    def __getitem__(self, axis: str) -> AxisAnalysis:
        obstacles = self.obstacles(axis)
        if obstacles:
            raise ObstacleError(_no_way(self.output, self.input, axis, obstacles))
        return self._of._axis(self.output, self.input, axis)

    def obstacles(self, axis: str) -> tuple[Obstacle, ...]:
        """What lies in the way on this axis, in order of execution."""
        if axis not in self.axes:
            raise InputError(
                f"input {self.input} has no axis {axis!r}; analysed axes: {', '.join(self.axes) or 'none'}"
            )
        return self._of._obstacles(self.output, self.input, axis)

    def __iter__(self) -> Iterator[str]:
        return iter(self.axes)


@dataclass(frozen=True)
class Analysis:
    """What a net needs, at one size. Made by `overlapcalc.analyze`; frozen.

    inputs, outputs: names and shapes. axes: the axes asked for. size_verified: a second trace at a larger size
    agreed; verified_at: its input shapes.
    """

    inputs: Named[tuple[int, ...]]
    outputs: Named[tuple[int, ...]]
    axes: tuple[str, ...]
    size_verified: bool
    verified_at: tuple[tuple[int, ...], ...] | None
    _net: Propagation = field(repr=False, compare=False)
    _retrace: Retrace = field(repr=False, compare=False)

    # ---- asking -------------------------------------------------------------------------------------------

    def __getitem__(self, axis: str) -> AxisAnalysis:
        """The only output against the only input. Raises AmbiguousPair, ObstacleError, InputError."""
        return self.between()[axis]

    def between(self, output: int | str | None = None, input: int | str | None = None) -> Pair:
        """One output against one input, each by index or name; None for the only one."""
        return self._pair(_choose(self.outputs, output, "output"), _choose(self.inputs, input, "input"))

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Every output against every input, inputs fastest."""
        return tuple(self._pair(o, i) for o in self.outputs for i in self.inputs)

    @cached_property
    def blocking_free(self) -> bool:
        """No obstacle between any output and any input on any requested axis."""
        return not any(pair.obstacles(axis) for pair in self.pairs for axis in pair.axes)

    @cached_property
    def obstacles(self) -> tuple[Obstacle, ...]:
        """All obstacles between any output and any input on the requested axes, in order of execution."""
        found = {o for pair in self.pairs for axis in pair.axes for o in pair.obstacles(axis)}
        return tuple(o for o in self._net.obstacles if o in found)

    @cached_property
    def layers(self) -> tuple[LayerRow, ...]:
        """The rows of the table, in order of execution."""
        return layer_rows(self._net, self.axes)

    @cached_property
    def grid(self) -> Mapping[str, AxisGrid]:
        """Per axis, the joint grid of all inputs and outputs that have it."""
        out = {}
        for axis in self.axes:
            lattice = Lattice(self._net, axis)
            steps = {n: lattice.per_step(n) for n in self.inputs if self._net.size(n, axis) is not None}
            outs = {
                shown: lattice.per_step(node)
                for shown, node in self._net.graph.outputs
                if self._net.size(node, axis) is not None
            }
            out[axis] = AxisGrid(Named(steps), Named(outs))
        return out

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; fractions as "1/16"."""
        return {
            "schema_version": SCHEMA_VERSION,
            "inputs": {name: list(shape) for name, shape in self.inputs.items()},
            "outputs": {name: list(shape) for name, shape in self.outputs.items()},
            "axes": list(self.axes),
            "blocking_free": self.blocking_free,
            "size_verified": self.size_verified,
            "verified_at": None if self.verified_at is None else [list(s) for s in self.verified_at],
            "obstacles": [_obstacle_dict(o) for o in self.obstacles],
            "grid": {axis: {"step": dict(g.step), "out_step": dict(g.out_step)} for axis, g in self.grid.items()},
            "pairs": [self._pair_dict(pair) for pair in self.pairs],
            "layers": [row.to_dict() for row in self.layers],
        }

    # ---- inside -------------------------------------------------------------------------------------------

    def _pair_dict(self, pair: Pair) -> dict[str, Any]:
        axes: dict[str, Any] = {}
        for axis in pair.axes:
            obstacles = pair.obstacles(axis)
            if obstacles:
                axes[axis] = {"obstacles": [_obstacle_dict(o) for o in obstacles]}
            else:
                axes[axis] = pair[axis].to_dict()
        return {"output": pair.output, "input": pair.input, "axes": axes}

    def _pair(self, output: str, input: str) -> Pair:
        axes = tuple(a for a in self.axes if self._net.size(input, a) is not None)
        return Pair(output, input, axes, self)

    def _output_node(self, shown: str) -> str:
        return dict(self._net.graph.outputs)[shown]

    def _input_node(self, name: str) -> str:
        return name

    def _obstacles(self, output: str, input: str, axis: str) -> tuple[Obstacle, ...]:
        via = reach_between(self._net, self._output_node(output), input, axis).via
        return tuple(o for o in self._net.obstacles if o in via)

    def _axis(self, output: str, input: str, axis: str) -> AxisAnalysis:
        net, node = self._net, self._output_node(output)
        reach = reach_between(net, node, input, axis)
        size = net.size(input, axis)
        assert size is not None
        lattice = Lattice(net, axis)
        step = lattice.per_step(input)
        connected = net.size(node, axis) is not None and lattice.same(node, input)
        out_step = lattice.per_step(node) if net.size(node, axis) is not None else None
        context = tile = reach_sides = None
        fields = (0, 0)
        before_exact = after_exact = exact = True
        if reach.reads is not None and out_step is not None:
            context = context_of(reach.reads, step, out_step)
            fields = receptive_field(reach.reads)
            reach_sides = reach_of_one(reach.reads)
            sure = context_of(reach.sure, step, out_step) if reach.sure is not None else None
            before_exact = sure is not None and context is not None and sure.before == context.before
            after_exact = sure is not None and context is not None and sure.after == context.after
            exact = before_exact and after_exact and (reach.sure is reach.reads or reach.sure == reach.reads)
        if connected and out_step is not None:
            found = interior(net, node, axis, Spans.span(0, out_step))
            tile = self._tile(lattice, found, node, input, size)
        return AxisAnalysis(
            axis, output, input, size, net.size(node, axis),
            Fraction(step, out_step) if connected and out_step else None,
            fields, reach_sides, step, out_step, context, tile, exact, before_exact, after_exact, reach, self,
        )  # fmt: skip

    @staticmethod
    def _tile(lattice: Lattice, found: Demand, output: str, input: str, size: int) -> Sides:
        before, end = lattice.interior(found, output)
        step = lattice.per_step(input)
        return Sides(before * step, size - end * step)

    def _at(self, input: str, axis: str, size: int, verified: bool) -> Propagation:
        """The net with another length of one axis: all inputs on the joint grid move along."""
        now = self._net.size(input, axis)
        if size == now:
            return self._net
        if not isinstance(size, int) or size < 1:
            raise InputError(f"size={size!r}: expected a number of input samples along {axis}, at least 1")
        return self._retrace(self._shapes(self._net, input, axis, size), verified)

    @staticmethod
    def _shapes(net: Propagation, input: str, axis: str, size: int) -> tuple[tuple[int, ...], ...]:
        """All input shapes when one input gets another length along an axis."""
        now = net.size(input, axis)
        assert now is not None
        lattice = Lattice(net, axis)
        shapes = []
        for name in net.graph.inputs:
            shape = list(net.graph[name].shape)
            d = net.values[name].axis_dim(axis)
            if d is not None and (name == input or lattice.same(name, input)):
                more = Fraction((size - now) * lattice.per_step(name), lattice.per_step(input))
                if more.denominator != 1 or shape[d] + more < 1:
                    raise InputError(
                        f"size={size} of {input} along {axis} leaves no whole size for input {name}; analyze the net "
                        "at the shapes in question instead"
                    )
                shape[d] += int(more)
            shapes.append(tuple(shape))
        return tuple(shapes)


def reach_between(net: Propagation, output: str, input: str, axis: str) -> Reach:
    return dict(zip(net.slots, joined(net, output), strict=True)).get((input, axis), NOTHING)


def _choose(names: Mapping[str, Any], wanted: int | str | None, what: str) -> str:
    known = list(names)
    if wanted is None:
        if len(known) == 1:
            return known[0]
        raise AmbiguousPair(
            f"the net has {len(known)} {what}s: {', '.join(known)}; choose one with "
            f"between({what}=NAME), by name or index"
        )
    if isinstance(wanted, int) and -len(known) <= wanted < len(known):
        return known[wanted]
    if isinstance(wanted, str) and wanted in known:
        return wanted
    raise InputError(f"{what}={wanted!r}: the net has {', '.join(known)}")


def _check_span(start: int, stop: int) -> None:
    if not isinstance(start, int) or not isinstance(stop, int) or stop <= start:
        raise InputError(f"outputs [{start}, {stop}): expected whole numbers, start < stop")


def _check_inside(start: int, stop: int, length: int | None, output: str, axis: str) -> None:
    if length is None or start < 0 or stop > length:
        raise InputError(f"outputs [{start}, {stop}) on {axis}: {output} has samples [0, {length}) at this size")


def _no_way(output: str, input: str, axis: str, obstacles: Any) -> str:
    listed = sorted(obstacles)
    rest = f" (and {len(listed) - 1} more)" if len(listed) > 1 else ""
    first = listed[0]
    return f"{output} cannot be computed by blocks of {input} along {axis}: {first}{rest}" + (
        f"; to change that: {first.help}" if first.help else ""
    )


def _obstacle_dict(o: Obstacle) -> dict[str, str]:
    return {
        "layer": o.layer,
        "op": o.op,
        "axis": o.axis,
        "cause": o.cause,
        "message": o.message,
        "source": o.source,
        "help": o.help,
    }
