"""The options of a plan: which blocks, and how they are run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, TypedDict

from ..errors import Argument, InputError
from ..ops.layout import axes_in
from .byte_size import bytes_of

BLOCKWISE, PASSES = ("crop", "trim", "stream"), "passes"
SCHEDULES = (*BLOCKWISE, PASSES)
AUTO = "auto"
"""A stream; passes for a net that no stream runs."""
MODES = ("constant", "replicate", "reflect", "circular")
"""What padding puts beyond the end, as torch calls it: zeros, the last sample, the image mirrored there, its start."""
Blocks = int | Sequence[int | None] | Mapping[str, int]
"""One length for all axes; one per axis in their order, None for a whole one; or by name, the others whole."""
Tile = int | tuple[int, int] | Mapping[str, tuple[int, int]]
"""Samples around each block: (before, after), or one number for both; by axis where axes differ."""


class CutOptions(TypedDict, total=False):
    """Options of a run with given blocks: see `Blocking`."""

    block: Blocks | None
    schedule: str | None
    stream_axis: str | None


class BlockingOptions(CutOptions, total=False):
    """Options of a run: see `Blocking`."""

    memory: int | str | None
    fixed_tile: Blocks | None
    disk: int | str | None
    spill: str | None
    pad_to_fit: str | None


@dataclass(frozen=True)
class Blocking:
    """How to run a net by blocks; checked on construction. None leaves the choice to the plan.

    block: the length of a block. memory: a budget instead. fixed_tile: the length of every tile instead. schedule:
    "crop", "trim", "stream" or "passes"; or "auto": a stream, but passes for a net that no stream runs. stream_axis:
    the axis along which a stream or passes go. disk: the most that passes may store on disk. spill: the folder for it.
    pad_to_fit: how an image is padded that the net, or a tile of one length, does not take as it is; None for refusing
    it. All as for `overlapcalc.plan`.

    >>> Blocking(memory="2GiB").budget
    2147483648
    >>> Blocking(stream_axis="H").named_schedule
    'stream'

    Raises InputError for unknown values, and for options that exclude each other.
    """

    block: Blocks | None = None
    schedule: str | None = None
    stream_axis: str | None = None
    memory: int | str | None = None
    fixed_tile: Blocks | None = None
    disk: int | str | None = None
    spill: str | None = None
    pad_to_fit: str | None = None

    def __post_init__(self) -> None:
        schedule = self.named_schedule
        if schedule is not None and schedule not in (*SCHEDULES, AUTO):
            raise InputError(Argument("schedule", schedule), f": there are {', '.join((*SCHEDULES, AUTO))}")
        sizes = [name for name in ("block", "memory", "fixed_tile") if getattr(self, name) is not None]
        if len(sizes) > 1:
            first, *middle, last = map(Argument, sizes)
            commas = [piece for argument in middle for piece in (", ", argument)]
            raise InputError(first, *commas, " and ", last, " exclude each other; give one of them")
        if self.fixed_tile is not None and schedule not in (None, "crop"):
            raise InputError(Argument("fixed_tile", self.fixed_tile), f" is for the schedule crop, not {schedule}")
        if self.stream_axis is not None and schedule not in ("stream", PASSES, AUTO):
            there = f" is for the schedules stream and passes, not {schedule}"
            raise InputError(Argument("stream_axis", self.stream_axis), there)
        for name in ("disk", "spill"):
            if getattr(self, name) is not None and schedule not in (None, PASSES, AUTO):
                raise InputError(Argument(name, getattr(self, name)), f" is for the schedule passes, not {schedule}")
        if self.pad_to_fit is not None and self.pad_to_fit not in MODES:
            raise InputError(Argument("pad_to_fit", self.pad_to_fit), f": there are {', '.join(MODES)}")
        if self.memory is not None:
            bytes_of(self.memory)
        if self.disk is not None:
            bytes_of(self.disk, "disk", least=0)
        if self.spill == "":
            raise InputError(Argument("spill", self.spill), ": expected a folder")

    @property
    def named_schedule(self) -> str | None:
        """The requested schedule: a stream if only its axis is given."""
        return "stream" if self.schedule is None and self.stream_axis is not None else self.schedule

    @property
    def budget(self) -> int | None:
        """The memory that blocks may take, in bytes."""
        return None if self.memory is None else bytes_of(self.memory)

    @property
    def sized(self) -> bool:
        """Whether the size of blocks is given, in one way or another."""
        return any(size is not None for size in (self.block, self.memory, self.fixed_tile))


def several_axes(layouts: Iterable[str]) -> bool:
    """Whether a sample's place takes more than one number. layouts: of the inputs."""
    return any(len(axes_in(layout)) > 1 for layout in layouts)


def default_block(layouts: Iterable[str], *, band: bool = False) -> int:
    """The length of a block where none is given. band: of a stream, whose bands go from border to border.

    Enough to keep kernels busy, few enough to stay in cache; where there is one axis, a sample takes little of either.

    >>> default_block(["NCHW"]), default_block(["NCHW"], band=True), default_block(["NCL"])
    (256, 32, 8192)
    """
    if not several_axes(layouts):
        return 8192
    return 32 if band else 256


def refuse_unknown(options: Iterable[str], *known: str) -> None:
    """Raises InputError for an unknown option."""
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InputError(f"{unknown[0]!r} is no option; there are {', '.join(known)}")


def refuse_beside_analysis(**arguments: object) -> None:
    """Raises InputError for an argument that an Analysis has answered already."""
    given = [name for name, value in arguments.items() if value is not None]
    if given:
        if given[0] == "inputs":
            raise InputError("an Analysis has its inputs already; use analysis.at(shapes) for other sizes")
        raise InputError("an Analysis has its ", Argument(given[0]), " already; give other ones to analyze")


CUT_OPTIONS = tuple(CutOptions.__annotations__)
BLOCKING_OPTIONS = tuple(BlockingOptions.__annotations__)


def per_axis(axes: Iterable[str], sizes: Blocks, what: str) -> dict[str, int]:
    """The length for each axis that is cut, out of `axes`. Raises InputError.

    >>> per_axis("HW", 256, "block"), per_axis("HW", {"W": 512}, "block"), per_axis("HW", (32, None), "block")
    ({'H': 256, 'W': 256}, {'W': 512}, {'H': 32})
    """
    order = list(axes)
    known = ", ".join(order)
    if isinstance(sizes, Mapping):
        strange = [axis for axis in sizes if axis not in order]
        if strange:
            raise InputError(Argument(what, dict(sizes)), f": no axis {strange[0]!r} is cut here, only {known}")
        found: dict[str, Any] = dict(sizes)
    elif isinstance(sizes, (tuple, list)):
        if not 1 <= len(sizes) <= len(order):
            raise InputError(Argument(what, sizes), f": expected up to {len(order)} lengths, for {known} in this order")
        found = {axis: n for axis, n in zip(order, sizes, strict=False) if n is not None}
    else:
        found = dict.fromkeys(order, sizes)
    return {axis: _length(n, what, axis) for axis, n in found.items()}


def sides_per_axis(axes: Iterable[str], tile: Tile) -> dict[str, tuple[int, int]]:
    """Samples before and after each block, for every axis that is cut; none along axes that are not named.

    Raises InputError.
    """
    order = list(axes)
    asked = tile if isinstance(tile, Mapping) else dict.fromkeys(order, tile)
    found = dict.fromkeys(order, (0, 0))
    for axis, sides in asked.items():
        if axis not in order:
            raise InputError(Argument("tile"), f": no axis {axis!r} is cut here, only {', '.join(order)}")
        numbers: tuple[Any, ...] = tuple(sides) if isinstance(sides, (tuple, list)) else (sides, sides)
        if len(numbers) != 2 or not all(isinstance(n, int) and not isinstance(n, bool) for n in numbers):
            expected = f" along {axis}: expected samples (before, after), or a number for both"
            raise InputError(Argument("tile", sides), expected)
        found[axis] = numbers[0], numbers[1]
    return found


def _length(n: object, what: str, axis: str) -> int:
    """A length; integers of numpy are accepted as well. Raises InputError."""
    try:
        length = 0 if isinstance(n, bool) else index(n)  # type: ignore[arg-type]
    except TypeError:
        length = 0
    if length < 1:
        raise InputError(Argument(what, n), f" along {axis}: expected a number of samples, at least 1")
    return length
