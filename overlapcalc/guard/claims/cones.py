"""`causal = "raster"`, `max-skew`, `max-cone`: what a cell may read over all axes at once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ..judgement import Failure, Judgement
from .claim import Claim, Subject, claim, in_the_way
from .limits import whole

if TYPE_CHECKING:
    from ...analysis.cone import Cone, Point
    from ...analysis.pair import Pair

RASTER = "raster"
MOST_SHOWN = 4


class OfCones(Claim):
    """A figure of the cone of every pair without obstacles."""

    def judge(self, subject: Subject) -> Judgement:
        failures: list[Failure] = []
        values: list[str] = []
        for pair in subject.analysis.pairs:
            blocked = [failure for axis in pair.axes for failure in in_the_way(subject, pair, axis)]
            failures += blocked
            if not blocked and pair.axes:
                cone, where = pair.cone(), _where(subject, pair)
                value, wrong = self.of(cone, where)
                values.append(f"{where} {value}".strip())
                failures += wrong
        return Judgement(self.key, self.limit, "; ".join(values) or "none", tuple(failures))

    @abstractmethod
    def of(self, cone: Cone, where: str) -> tuple[str, list[Failure]]:
        """The value of one pair, and what is wrong with it."""


def _where(subject: Subject, pair: Pair) -> str:
    return f"{pair.output} against {pair.input}" if len(subject.analysis.pairs) > 1 else ""


def _said(cone: Cone, count: str) -> str:
    return count if cone.exact else f"{count} (an upper bound)"


def _shown(cells: list[Point]) -> str:
    return ", ".join(map(str, cells[:MOST_SHOWN])) + (
        f" and {len(cells) - MOST_SHOWN} more" if cells[MOST_SHOWN:] else ""
    )


@dataclass(frozen=True)
class Raster(OfCones):
    def of(self, cone: Cone, where: str) -> tuple[str, list[Failure]]:
        own = (0,) * len(cone.axes)
        later = [tap for tap in cone.taps if tap > own]
        if later:
            why = f"it reads the cells at {_shown(later)}, which come later"
            return "no", [Failure(where, _said(cone, "inside an image"), why=why, help="mask the kernel there")]
        for cell, at in _past_borders(cone):
            value = f"at cell {cell} of an image of the analysed size, it reads cell {at}"
            why = "a border that mirrors or repeats samples brings what comes later"
            return "no", [Failure(where, value, why=why, help="zeros there")]
        return "yes", []


def _past_borders(cone: Cone) -> Iterator[tuple[Point, Point]]:
    """Cells near a border, and a later one that each reads. One cell stands for all of which the same law holds."""
    net = cone.variants.net
    sized = cone.at([net.size(cone.input, axis) or 1 for axis in cone.axes])
    places = (
        [i for i in range(count) if i not in inner] + list(inner[:1])
        for count, inner in zip(sized.cells, sized.inner, strict=True)
    )
    for cell in product(*places):
        for at in sized.reads(cell):
            if at > cell:
                yield cell, at
                break


@dataclass(frozen=True)
class MaxSkew(OfCones):
    most: int

    def of(self, cone: Cone, where: str) -> tuple[str, list[Failure]]:
        from ...planning.wavefront import skew_of

        if len(cone.axes) != 2:
            raise InputError(f"{self.key} is of nets with two axes; {cone.output} has {', '.join(cone.axes)}")
        own = (0, 0)
        later = [tap for tap in cone.taps if tap > own]
        if later:
            why = f"it reads the cells at {_shown(later)}, which come later"
            return "none", [Failure(where, _said(cone, "there is no front"), why=why, help="mask the kernel there")]
        skew = skew_of(cone.taps)
        value = _said(cone, str(skew))
        if skew <= self.most:
            return value, []
        steep = [tap for tap in cone.taps if self.most * tap[0] + tap[1] >= 0 and tap != own]
        return value, [Failure(where, value, why=f"because of the cells at {_shown(steep)}")]


@dataclass(frozen=True)
class MaxCone(OfCones):
    most: int

    def of(self, cone: Cone, where: str) -> tuple[str, list[Failure]]:
        count = cone.area.count
        value = _said(cone, f"{count} cell{'' if count == 1 else 's'}")
        return value, [] if count <= self.most else [Failure(where, value, why="a cell of the output reads so many")]


@claim("max-skew", "a whole number of at least 0: cells can be made at time skew * row + column")
def max_skew(key: str, value: Any) -> Claim:
    return MaxSkew(key, str(value), whole(value, 0))


@claim("max-cone", "a whole number of at least 0: of cells of the input that a cell of the output reads")
def max_cone(key: str, value: Any) -> Claim:
    return MaxCone(key, str(value), whole(value, 0))
