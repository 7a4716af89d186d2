"""A number for every axis and side, or a table of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ...errors import InputError
from ...ops.layout import AXES
from .claim import Subject, WrongValue

if TYPE_CHECKING:
    from ...analysis.pair import Pair

T = TypeVar("T")
SIDES = ("before", "after")


@dataclass(frozen=True)
class PerAxis(Generic[T]):
    """What is claimed of each axis; `everywhere` is for those that are not named."""

    everywhere: T | None
    named: tuple[tuple[str, T], ...] = ()

    def of(self, axis: str) -> T | None:
        return dict(self.named).get(axis, self.everywhere)

    def places(self, key: str, subject: Subject) -> Iterator[tuple[Pair, str, T]]:
        """Each output against each input along each axis that something is claimed of, and what. Raises InputError for
        an axis that the net does not have."""
        self.check(key, subject)
        for pair, axis in subject.places():
            claimed = self.of(axis)
            if claimed is not None:
                yield pair, axis, claimed

    def check(self, key: str, subject: Subject) -> None:
        """Raises InputError for an axis that the net does not have."""
        for axis, _ in self.named:
            if axis not in subject.analysis.axes:
                known = ", ".join(subject.analysis.axes)
                raise InputError(f"{key} names the axis {axis}; this model is analysed along {known}")


def per_axis(value: Any, one: Callable[[Any], T]) -> PerAxis[T]:
    """One value for all axes, or a table axis -> value. Raises WrongValue."""
    if not isinstance(value, Mapping) or not set(value) <= set(AXES):
        return PerAxis(one(value))
    if not value:
        raise WrongValue
    return PerAxis(None, tuple((axis, one(value[axis])) for axis in sorted(value)))


@dataclass(frozen=True)
class SideLimits:
    """The most on either side; None: no claim about it."""

    before: int | None
    after: int | None


def side_limits(value: Any) -> SideLimits:
    """A number for both sides, or a table with `before`, `after` or both. Raises WrongValue.

    >>> side_limits(16), side_limits({"before": 16})
    (SideLimits(before=16, after=16), SideLimits(before=16, after=None))
    """
    if isinstance(value, Mapping):
        if not value or not set(value) <= set(SIDES):
            raise WrongValue
        return SideLimits(*(whole(value[side]) if side in value else None for side in SIDES))
    return SideLimits(whole(value), whole(value))


def whole(value: Any, least: int | None = None) -> int:
    """Raises WrongValue for anything but a whole number, of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or (least is not None and value < least):
        raise WrongValue
    return value


def in_words(value: Any) -> str:
    """What was configured, in words: `32`, `W 32 before, 16 after`."""
    if not isinstance(value, Mapping):
        return str(value)
    if set(value) <= set(SIDES):
        return ", ".join(f"{value[side]} {side}" for side in SIDES if side in value)
    return "; ".join(f"{axis} {in_words(value[axis])}" for axis in sorted(value))
