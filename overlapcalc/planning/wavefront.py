"""In which order the cells of an image can be made whose makers read cells that were made before.

A codec that predicts a block from reconstructed blocks, or samples an image value by value, feeds an output back as an
input. Cells that do not need one another are made in one step. The shortest order is the longest way through what
needs what; for the masks of codecs it is a slanted front that moves over the image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

from ..analysis.cone import Cone, Point, SizedCone
from ..errors import Argument, InputError


@dataclass(frozen=True)
class Order:
    """The shortest order for one number of cells. times: the step of every cell, in row-major order of the cells.

    >>> Order((2, 2), (0, 1, 1, 2)).fronts
    (((0, 0),), ((0, 1), (1, 0)), ((1, 1),))
    """

    cells: Point
    times: tuple[int, ...] = field(repr=False)

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return max(self.times) + 1

    @cached_property
    def fronts(self) -> tuple[tuple[Point, ...], ...]:
        """The cells of each step, in row-major order."""
        found: list[list[Point]] = [[] for _ in range(self.steps)]
        for cell, step in zip(product(*map(range, self.cells)), self.times, strict=True):
            found[step].append(cell)
        return tuple(map(tuple, found))


@dataclass(frozen=True)
class Wavefront:
    """An order for the cells of all images. See `wavefront`.

    axes: the first is the slowest in raster order. taps: the offsets of the cells that must be there before. cones: of
    what reads made cells; within: of what may read its own cell as well.

    >>> left = nn.ZeroPad2d((1, -1, 0, 0))  # every column is the one before
    >>> front = oc.wavefront(oc.analyze(left, (1, 1, 8, 8)).cone())
    >>> front.steps((4, 6)), front.at(0, (4, 6))
    (6, ((0, 0), (1, 0), (2, 0), (3, 0)))
    """

    axes: tuple[str, ...]
    taps: tuple[Point, ...]
    cones: tuple[Cone, ...] = field(repr=False)
    within: tuple[Cone, ...] = field(repr=False)
    _orders: dict[Point, Order] = field(default_factory=dict, repr=False, compare=False)

    @property
    def exact(self) -> bool:
        """Whether all taps are read. Otherwise they are a bound: the order is right, but perhaps not the shortest.

        >>> oc.wavefront(oc.analyze(nn.ZeroPad2d((1, -1, 0, 0)), (1, 1, 8, 8)).cone()).exact
        True
        """
        return all(cone.exact for cone in (*self.cones, *self.within))

    @property
    def skew(self) -> int | None:
        """The smallest s for which every cell may be made at time `s * row + column`; None but for two axes.

        The order with this skew may take more steps than the shortest.
        """
        if len(self.axes) != 2:
            return None
        return skew_of(self.taps)

    def steps(self, cells: Sequence[int]) -> int:
        """How many steps the shortest order takes for an image of so many cells along each axis. Raises InputError."""
        return self.order(cells).steps

    def at(self, step: int, cells: Sequence[int]) -> tuple[Point, ...]:
        """The cells that are made at a step of the shortest order. Raises InputError."""
        found = self.order(cells)
        if not 0 <= step < found.steps:
            raise InputError(Argument("step", step), f": there are {found.steps} steps, counted from 0")
        return found.fronts[step]

    def order(self, cells: Sequence[int]) -> Order:
        """The shortest order for an image of so many cells along each axis.

        Each cell is followed at its own place: a border may read what the interior does not. Raises InputError where
        a cell reads one that is made later, as nets do that pad with copies or mirror images.
        """
        wanted = tuple(cells)
        if len(wanted) != len(self.axes) or not all(isinstance(n, int) and n >= 1 for n in wanted):
            raise InputError(Argument("cells", wanted), f": expected one number for each of {', '.join(self.axes)}")
        if wanted not in self._orders:
            self._orders[wanted] = Order(wanted, tuple(self._times(wanted)))
        return self._orders[wanted]

    def _times(self, cells: Point) -> Iterator[int]:
        sized = [(cone.at([n * s for n, s in zip(cells, cone.step, strict=True)]), False) for cone in self.cones]
        sized += [(cone.at([n * s for n, s in zip(cells, cone.step, strict=True)]), True) for cone in self.within]
        for one, _ in sized:
            if one.cells != cells:
                raise InputError(
                    f"an image of {text_of(cells)} cells of {one.cone.input} has {text_of(one.cells)} cells of "
                    f"{one.cone.output}; what is fed back must be as large as what it is fed to"
                )
        times: dict[Point, int] = {}
        for cell in product(*map(range, cells)):
            needed = [at for one, own in sized for at in _before(one, cell, own=own)]
            times[cell] = 1 + max((times[at] for at in needed if at in times), default=-1)
            yield times[cell]


def _before(cone: SizedCone, cell: Point, *, own: bool) -> Iterator[Point]:
    """The cells that must be there before this one. Raises InputError for one that comes later."""
    for at in cone.reads(cell):
        if at < cell:
            yield at
        elif at > cell or not own:
            which = "itself" if at == cell else f"cell {at}, which is made later"
            raise InputError(
                f"{cone.cone.output} cannot be made cell by cell: at {cell} of {text_of(cone.cells)} it reads {which}; "
                "at borders, pad with zeros"
            )


def wavefront(*cones: Cone, within: Sequence[Cone] = ()) -> Wavefront:
    """The order in which cells are made that read one another.

    cones: of every output that reads what is made, against that input. within: cones of later stages, which read what
    an earlier stage of the same cell makes: they may read their own cell too. Raises InputError where a cell reads
    itself or one that comes later in raster order, with the taps.

    >>> above = nn.Sequential(nn.ZeroPad2d((1, 1, 1, 0)), nn.Conv2d(1, 1, (1, 3)), nn.ZeroPad2d((0, 0, 0, -1)))
    >>> front = oc.wavefront(oc.analyze(above, (1, 1, 8, 8)).cone())
    >>> front.taps, front.skew, front.steps((4, 100))  # a row reads nothing but the row above: four steps
    (((-1, -1), (-1, 0), (-1, 1)), 2, 4)
    """
    every = (*cones, *within)
    if not every:
        raise InputError("no cones: give the cone of each output that reads what is fed back")
    axes = every[0].axes
    for cone in every:
        if cone.axes != axes:
            raise InputError(f"cones over {', '.join(axes)} and over {', '.join(cone.axes)}; expected the same axes")
        if cone.phase is not None:
            raise InputError("a cone of one phase: cells are made whole; give the cone of all phases")
    own = (0,) * len(axes)
    for cone in every:
        later = [tap for tap in cone.taps if tap > own or (tap == own and cone not in within)]
        if later:
            shown = ", ".join(map(str, later[:4])) + (" and more" if len(later) > 4 else "")
            raise InputError(
                f"{cone.output} reads {cone.input} at {shown}: its own cell and those after it are not made yet; "
                "mask them"
            )
    taps = sorted({tap for cone in every for tap in cone.taps} - {own})
    return Wavefront(axes, tuple(taps), tuple(cones), tuple(within))


def skew_of(taps: Iterable[Point]) -> int:
    """The smallest s with `s * row + column < 0` for every tap (row, column) of a row above.

    >>> skew_of([(-1, 1), (-2, 3), (0, -1)])
    2
    """
    return max(0, *(column // -row + 1 for row, column in taps if row), 0)


def text_of(cells: Sequence[int]) -> str:
    return "x".join(map(str, cells))
