"""The cone: what a cell of an output reads of an input, over all axes at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from itertools import product
from typing import Any

from ..algebra.boxes import NOWHERE, Boxes
from ..algebra.spans import Span, Spans
from ..errors import Argument, InputError, ObstacleError
from ..propagate.backward import interior
from ..propagate.grid import Grid
from ..propagate.joint import joint
from ..propagate.values import Propagation, reads_between
from .axis import no_way
from .variants import Variants, output_of, shapes_at

READ, UNREAD, OWN = "#", ".", "@"
Point = tuple[int, ...]
"""One index per axis: a cell, or the offset from one cell to another."""


@dataclass(frozen=True)
class Cone:
    """The offsets from a cell of an output to the cells of an input that it reads, far from the borders.

    A cell is one step of the joint grid: `step` samples of the input, `out_step` of the output, along each of `axes`.
    phase: of which sample of the output's cell; None for all of them. exact: every tap is read by some input; otherwise
    the taps are a bound.

    >>> net = nn.Conv2d(1, 1, 3, padding=1)
    >>> cone = oc.analyze(net, (1, 1, 32, 32)).cone()
    >>> cone.taps[:4], cone.hull
    (((-1, -1), (-1, 0), (-1, 1), (0, -1)), (Span(start=-1, stop=2), Span(start=-1, stop=2)))
    """

    output: str
    input: str
    axes: tuple[str, ...]
    step: Point
    out_step: Point
    phase: Point | None
    exact: bool
    area: Boxes = field(repr=False)
    variants: Variants = field(repr=False, compare=False)

    @cached_property
    def taps(self) -> tuple[Point, ...]:
        """The offsets, in row-major order."""
        return tuple(self.area.points())

    @property
    def boxes(self) -> tuple[tuple[Span, ...], ...]:
        """Disjoint boxes of offsets, one span per axis; together they are the taps."""
        return tuple(self.area.spans())

    @property
    def hull(self) -> tuple[Span, ...] | None:
        """The smallest box around the taps; None where nothing is read."""
        return self.area.hull

    @cached_property
    def blind(self) -> tuple[Point, ...]:
        """The offsets within the hull that come before the own cell in row-major order, and are not read."""
        if self.hull is None:
            return ()
        own = (0,) * len(self.axes)
        every = product(*(range(*span) for span in self.hull))
        return tuple(at for at in every if at < own and at not in self.area)

    @property
    def drawing(self) -> list[str]:
        """The taps as lines of characters: `#` is read, `.` is not, `@` is the own place, read or not.

        Of three axes, a headed grid per offset along the first; of one axis, one line.

        >>> above = nn.Sequential(nn.ZeroPad2d((1, 1, 1, 0)), nn.Conv2d(1, 1, (1, 3)), nn.ZeroPad2d((0, 0, 0, -1)))
        >>> oc.analyze(above, (1, 1, 8, 8)).cone().drawing
        ['###', '.@.']
        """
        if self.hull is None:
            return []
        *outer, rows, columns = [
            *[range(1)] * (2 - len(self.axes)),
            *(range(min(span.start, 0), max(span.stop, 1)) for span in self.hull),
        ]
        lines: list[str] = []
        for first in product(*outer):
            if outer:
                lines.append(f"{self.axes[0]} {first[0]:+d}")
            lines += ["".join(self._character((*first, i, j)) for j in columns) for i in rows]
        return lines

    def _character(self, at: Point) -> str:
        tap = at[len(at) - len(self.axes) :]
        return OWN if not any(tap) else READ if tap in self.area else UNREAD

    @property
    def smaller(self) -> bool:
        """Whether it is less than the product of what is read along each axis."""
        along = [reduce(Spans.__or__, axis) for axis in zip(*self.area.products(), strict=True)]
        return self.area.count < Boxes.of(along).count if along else False

    def reads(self, cell: Sequence[int], *, size: Sequence[int] | None = None) -> tuple[Point, ...]:
        """The cells of the input that a cell of the output reads.

        Without `size`: the law of the interior, for any cell. With `size`, the input's samples along each axis: at the
        borders too, exactly where the cone is `exact`, else at most. The last cell of an axis may hold fewer samples
        than the others. A size other than the analysed one costs a trace. Raises InputError for a cell outside of the
        output of that size.

        >>> net = nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect")
        >>> oc.analyze(net, (1, 1, 32, 32)).cone().reads((0, 0), size=(32, 32))
        ((0, 0), (0, 1), (1, 0), (1, 1))
        """
        if size is not None:
            return self.at(size).reads(cell)
        self._check("cell", cell)
        return tuple(moved(cell, tap) for tap in self.taps)

    def at(self, size: Sequence[int]) -> SizedCone:
        """The cone at every cell, for an input of this many samples along each axis. Raises InputError.

        >>> oc.analyze(nn.Conv1d(1, 1, 3), (1, 1, 32)).cone().at((10,)).cells  # two samples fewer come out
        (8,)
        """
        self._check("size", size)
        net = self.variants.net
        wanted = dict(zip(self.axes, size, strict=True))
        if any(net.size(self.input, axis) != n for axis, n in wanted.items()):
            net = self.variants.retrace(shapes_at(net, self.input, wanted), bool(net.loops))
        return SizedCone.of(self, net)

    def _check(self, name: str, given: Sequence[int]) -> None:
        if len(given) != len(self.axes):
            raise InputError(Argument(name, tuple(given)), f": expected one number for each of {', '.join(self.axes)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "output": self.output,
            "input": self.input,
            "axes": list(self.axes),
            "step": list(self.step),
            "out_step": list(self.out_step),
            "phase": None if self.phase is None else list(self.phase),
            "taps": [list(tap) for tap in self.taps],
            "boxes": [[list(span) for span in box] for box in self.boxes],
            "blind": [list(tap) for tap in self.blind],
            "exact": self.exact,
        }


@dataclass(frozen=True)
class SizedCone:
    """A cone at one size. cells: of the output, per axis. inner: per axis, the cells of which the law of the interior
    holds, as far as this axis goes."""

    cone: Cone
    net: Propagation
    node: str
    cells: Point
    inner: tuple[range, ...]
    _found: dict[Point, tuple[Point, ...]] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def of(cone: Cone, net: Propagation) -> SizedCone:
        """Raises ObstacleError for an obstacle that only this size has, InputError where cells are others there."""
        node, cells, inner = output_of(net, cone.output), [], []
        for axis, step, out in zip(cone.axes, cone.step, cone.out_step, strict=True):
            length, grid = net.size(node, axis), Grid(net, axis)
            obstacles = reads_between(net, node, cone.input, axis).via
            if obstacles:
                raise ObstacleError(no_way(cone.output, cone.input, axis, obstacles))
            if length is None or (grid.per_step(cone.input), grid.per_step(node)) != (step, out):
                raise InputError(
                    f"at this size the cells of {cone.output} along {axis} are others; analyze the net there"
                )
            before, end = grid.interior(interior(net, node, axis, Spans.span(0, out)), node)
            cells.append(-(-length // out))
            inner.append(range(before, max(before, end)))
        return SizedCone(cone, net, node, tuple(cells), tuple(inner))

    def reads(self, cell: Sequence[int]) -> tuple[Point, ...]:
        """The cells of the input that a cell of the output reads. Raises InputError for one that there is not."""
        cone = self.cone
        cone._check("cell", cell)
        for at, axis, count in zip(cell, cone.axes, self.cells, strict=True):
            if not 0 <= at < count:
                raise InputError(Argument("cell", tuple(cell)), f": {cone.output} has {count} cells along {axis}")
        if all(at in inner for at, inner in zip(cell, self.inner, strict=True)):
            return tuple(moved(cell, tap) for tap in cone.taps)
        like = tuple(inner[0] if at in inner else at for at, inner in zip(cell, self.inner, strict=True))
        if like not in self._found:
            self._found[like] = tuple(moved(at, like, -1) for at in self._followed(like))
        return tuple(moved(cell, tap) for tap in self._found[like])

    def _followed(self, cell: Point) -> Iterator[Point]:
        cone, wanted = self.cone, []
        for k, (at, out) in enumerate(zip(cell, cone.out_step, strict=True)):
            length = self.net.size(self.node, cone.axes[k])
            assert length is not None
            first, last = at * out, (at + 1) * out
            if cone.phase is not None:
                first, last = first + cone.phase[k], first + cone.phase[k] + 1
            wanted.append(Spans.span(first, min(length, last)))
        found = joint(self.net, self.node, cone.axes, Boxes.of(wanted), sized=True)
        return in_cells(found.reads.get(cone.input, NOWHERE), cone.step).points()


def moved(cell: Sequence[int], by: Sequence[int], times: int = 1) -> Point:
    return tuple(i + times * j for i, j in zip(cell, by, strict=True))


def cone_of(
    variants: Variants, output: str, input: str, axes: tuple[str, ...], phase: Sequence[int] | None = None
) -> Cone:
    """The cone of a pair along axes without obstacles. Raises InputError where the two do not move together."""
    net, node = variants.net, variants.output_node(output)
    step, out_step = [], []
    for axis in axes:
        grid = Grid(net, axis)
        if net.size(node, axis) is None or not grid.same(node, input):
            raise InputError(f"{output} and {input} do not move together along {axis}, so there are no cells of both")
        step.append(grid.per_step(input))
        out_step.append(grid.per_step(node))
    wanted = [Spans.span(0, out) for out in out_step]
    if phase is not None:
        if len(phase) != len(axes) or not all(0 <= p < out for p, out in zip(phase, out_step, strict=True)):
            cell = "x".join(map(str, out_step))
            raise InputError(Argument("phase", tuple(phase)), f": expected a sample of a cell of {cell}")
        wanted = [Spans.span(p, p + 1) for p in phase]
    found = joint(net, node, axes, Boxes.of(wanted), sized=False)
    area = in_cells(found.reads.get(input, NOWHERE), step)
    return Cone(
        output=output,
        input=input,
        axes=axes,
        step=tuple(step),
        out_step=tuple(out_step),
        phase=None if phase is None else tuple(phase),
        exact=found.exact,
        area=area,
        variants=variants,
    )


def in_cells(samples: Boxes, step: Sequence[int]) -> Boxes:
    """The cells in which samples lie.

    >>> in_cells(Boxes.of([Spans.span(-1, 3)]), [2]).hull
    (Span(start=-1, stop=2),)
    """
    return samples.pulled([_floored(n) for n in step])


def _floored(step: int) -> Callable[[Spans], Spans]:
    def floored(samples: Spans) -> Spans:
        return Spans.of((start // step, -(-stop // step)) for start, stop in samples.parts)

    return floored
