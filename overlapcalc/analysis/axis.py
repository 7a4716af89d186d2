"""The answers for one output against one input along one axis."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from typing import Any

from ..algebra.index_map import IndexMap
from ..algebra.spans import Span, Spans
from ..errors import InputError, ObstacleError
from ..propagate.backward import interior, sized
from ..propagate.grid import Grid
from ..propagate.values import Obstacle, Propagation, reads_between
from .measures import NO_WINDOW, Sides, window_of
from .tile_check import Cut, differing_axes
from .variants import Variants, output_of


@dataclass(frozen=True)
class AxisAnalysis:
    """What one output needs of one input along one axis.

    scale: input samples per output sample (None where nothing connects the two). receptive_field: smallest and
    largest number of samples from first to last read by one output. reach: how far the worst single output reads
    beyond its own place. step, out_step: the joint grid. context: outputs `[u*out_step, v*out_step)` read
    `[u*step - before, v*step + after)`; None where they read nothing. tile: what the unmodified net must be fed
    around an interior block, at the analysed size. exact: the reads are minimal, not only sufficient. variants: that of
    the Analysis.

    >>> down_and_up = nn.Sequential(nn.Conv1d(3, 8, 3, stride=2, padding=1), nn.Upsample(scale_factor=2))
    >>> net = nn.Sequential(down_and_up, nn.Conv1d(8, 8, 3, padding=1))
    >>> axis = oc.analyze(net, (1, 3, 64))["L"]
    >>> axis.context, axis.tile, axis.step
    (Sides(before=3, after=2), Sides(before=4, after=2), 2)
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
    variants: Variants = field(repr=False, compare=False)
    _reads: IndexMap | None = field(repr=False, compare=False)

    def reads(self, start: int, stop: int, *, size: int | None = None) -> Span | None:
        """The input span from the first to the last sample that outputs `[start, stop)` depend on, or None.

        Without `size`: the law of the interior, for any integers, not clipped. With `size`: exact at the borders
        too, for an input of that many samples (other axes as analysed; another size than the analysed one costs
        a trace). Axes are followed one by one: where another axis is so short that some paths find no row to go
        through, the span may be too long, never too short. Raises InputError for an empty span, or one outside the
        outputs of that size.

        >>> axis = oc.analyze(nn.Conv1d(3, 8, 5, padding=2, padding_mode="reflect"), (1, 3, 32))["L"]
        >>> print(axis.reads(0, 1), axis.reads(0, 1, size=32))  # samples -2 and -1 are samples 2 and 1
        [-2, 3) [0, 3)
        """
        check_span(start, stop)
        if size is None:
            return self._reads.reads(start, stop) if self._reads is not None else None
        net = self.variants.at(self.input, self.axis, size, bool(self.variants.net.loops))
        output = output_of(net, self.output)
        _check_inside(start, stop, net.size(output, self.axis), self.output, self.axis)
        self._clear(net)
        found = sized(net, output, self.axis, Spans.span(start, stop))
        reads = found.reads.get(self.input)
        return reads.hull if reads is not None else None

    @property
    def look_ahead(self) -> int | None:
        """How many samples after its own place the worst output reads, inside an image: 0 for a causal net, whose
        borders the claim `causal` of the guard tests too. None where nothing connects the two.

        >>> causal = nn.Sequential(nn.ConstantPad1d((4, 0), 0.0), nn.Conv1d(1, 1, 5))
        >>> axis = oc.analyze(causal, (1, 1, 64))["L"]
        >>> axis.look_ahead, axis.history
        (0, 4)
        """
        return None if self.reach is None else self.reach.after

    @property
    def history(self) -> int | None:
        """How many samples before its own place the worst output reads."""
        return None if self.reach is None else self.reach.before

    def place(self, output: int) -> Span:
        """The own place of an output: the input samples that it stands for, whatever it reads. Their middle is
        `(output + 1/2) * scale`. Raises InputError where nothing connects the two.

        >>> axis = oc.analyze(nn.Conv1d(1, 1, 5, stride=4, padding=2), (1, 1, 64))["L"]
        >>> print(axis.place(3))
        [12, 16)
        """
        if self.scale is None:
            raise InputError(f"the outputs of {self.output} have no place along {self.axis} of {self.input}")
        return Span(floor(output * self.scale), ceil((output + 1) * self.scale))

    def tile_span(self, start: int, stop: int, *, size: int | None = None) -> Span:
        """The span of input to feed the unmodified net for outputs `[start, stop)`.

        `start` and `stop` must be on the grid, or `stop` the end of the output; `size` is the analysed one unless
        given. The tile lies in `[0, size)`, starts on the grid, and its length is congruent to `size` modulo `step`;
        the net's first output on it is output `tile.start / step * out_step`. Where the net does not run on such a
        short input, or is a different net there (it branches on the size), the tile is longer, if need be the whole
        axis. Raises InputError off the grid.

        >>> axis = oc.analyze(nn.Conv1d(3, 8, 5, stride=4, padding=2), (1, 3, 64))["L"]
        >>> print(axis.tile_span(8, 16))  # 8 outputs read [30, 63); the tile starts on the grid of 4
        [28, 64)
        """
        check_span(start, stop)
        size = self.size if size is None else size
        net = self.variants.at(self.input, self.axis, size, True)
        output = output_of(net, self.output)
        self._clear(net)
        length = net.size(output, self.axis)
        _check_inside(start, stop, length, self.output, self.axis)
        grid = Grid(net, self.axis)
        out_step = grid.per_step(output)
        if start % out_step or (stop % out_step and stop != length):
            raise InputError(
                f"outputs [{start}, {stop}) on {self.axis} do not lie on the grid: start and stop must be multiples of "
                f"{out_step}, or stop the end of the output, {length}"
            )
        found = sized(net, output, self.axis, Spans.span(start, stop))
        first, last = grid.cut(found, output)
        node = self.input
        if not grid.same(node, output):
            return Span(0, size)
        step, back = grid.per_step(node), 1
        while first + last > 0 and differing_axes(self.variants, net, {self.axis: Cut(first + last, node)}):
            given = min(last, back)  # still too short: give back 1, 2, 4... steps
            last, first, back = last - given, max(0, first - (back - given)), 2 * back
        return Span(first * step, size - last * step)

    def _clear(self, net: Propagation) -> None:
        obstacles = reads_between(net, output_of(net, self.output), self.input, self.axis).via
        if obstacles:
            raise ObstacleError(no_way(self.output, self.input, self.axis, obstacles))

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


def axis_analysis(variants: Variants, output: str, input: str, axis: str) -> AxisAnalysis:
    """The answers for a pair without obstacles along an axis."""
    net, node = variants.net, variants.output_node(output)
    reads = reads_between(net, node, input, axis)
    size = net.size(input, axis)
    assert size is not None
    grid = Grid(net, axis)
    step = grid.per_step(input)
    connected = net.size(node, axis) is not None and grid.same(node, input)
    out_step = grid.per_step(node) if net.size(node, axis) is not None else None
    window, tile = NO_WINDOW, None
    if reads.reads is not None and out_step is not None:
        window = window_of(reads.reads, reads.sure, step, out_step)
    if connected and out_step is not None:
        before, end = grid.interior(interior(net, node, axis, Spans.span(0, out_step)), node)
        tile = Sides(before * step, size - end * step)
    return AxisAnalysis(
        axis=axis,
        output=output,
        input=input,
        size=size,
        out_size=net.size(node, axis),
        scale=Fraction(step, out_step) if connected and out_step else None,
        receptive_field=window.receptive_field,
        reach=window.reach,
        step=step,
        out_step=out_step,
        context=window.context,
        tile=tile,
        exact=window.exact,
        exact_before=window.exact_before,
        exact_after=window.exact_after,
        variants=variants,
        _reads=reads.reads,
    )


def check_span(start: int, stop: int) -> None:
    if not isinstance(start, int) or not isinstance(stop, int) or stop <= start:
        raise InputError(f"outputs [{start}, {stop}): expected whole numbers, start < stop")


def _check_inside(start: int, stop: int, length: int | None, output: str, axis: str) -> None:
    if length is None or start < 0 or stop > length:
        raise InputError(f"outputs [{start}, {stop}) on {axis}: {output} has samples [0, {length}) at this size")


def no_way(output: str, input: str, axis: str, obstacles: Iterable[Obstacle]) -> str:
    listed = sorted(obstacles)
    rest = f" (and {len(listed) - 1} more)" if len(listed) > 1 else ""
    first = listed[0]
    return f"{output} cannot be computed by blocks of {input} along {axis}: {first}{rest}" + (
        f"; to change that: {first.help}" if first.help else ""
    )
