"""Limits as callers write them: one number, or one per axis and side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from ..errors import InputError

Sided = int | tuple[int, int] | Mapping[str, int]
SidedLimit = Sided | Mapping[str, Sided]
"""16, (16, 8) before and after, {"before": 16}, or one of these per axis: {"W": (16, 8)}."""
Limit = int | Mapping[str, int]
Ratio = int | str | Fraction
ScaleLimit = Ratio | Mapping[str, Ratio]
SIDES = ("before", "after")


def sided(given: SidedLimit | None, axes: Sequence[str], what: str) -> dict[tuple[str, str], int]:
    """(axis, side) -> the limit there; without an entry there is none. Raises InputError."""
    found: dict[tuple[str, str], int] = {}
    for axis, value in _per_axis(given, axes, what).items():
        if isinstance(value, Mapping):
            strange = [side for side in value if side not in SIDES]
            if strange or not value:
                raise InputError(f"{what}={given!r}: {axis} has {list(value)}; expected 'before' and 'after'")
            pairs = list(value.items())
        elif isinstance(value, (tuple, list)) and len(value) == 2:
            pairs = list(zip(SIDES, value, strict=True))
        else:
            pairs = [(side, value) for side in SIDES]
        for side, number in pairs:
            found[axis, side] = _number(number, given, what)
    return found


def single(given: Limit | None, axes: Sequence[str], what: str) -> dict[str, int]:
    """axis -> the limit there. Raises InputError."""
    return {axis: _number(value, given, what) for axis, value in _per_axis(given, axes, what).items()}


def ratios(given: ScaleLimit | None, axes: Sequence[str], what: str) -> dict[str, Fraction]:
    """axis -> an exact ratio. Raises InputError for anything else, floats too."""
    found = {}
    for axis, value in _per_axis(given, axes, what).items():
        try:
            if isinstance(value, (bool, float)):
                raise ValueError
            found[axis] = Fraction(value)
        except (ValueError, TypeError, ZeroDivisionError) as error:
            raise InputError(f'{what}={given!r}: expected a whole number or a fraction such as "1/16"') from error
    return found


def _per_axis(given: Any, axes: Sequence[str], what: str) -> dict[str, Any]:
    """One value for all axes, or one for each that is named."""
    if given is None:
        return {}
    if not isinstance(given, Mapping) or any(key in SIDES for key in given):
        return dict.fromkeys(axes, given)
    strange = [axis for axis in given if axis not in axes]
    if strange or not given:
        raise InputError(f"{what}={dict(given)!r}: no axis {', '.join(map(repr, strange))}; there is {', '.join(axes)}")
    return dict(given)


def _number(value: Any, given: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{what}={given!r}: expected whole numbers of samples, as one for all or as {{'W': (16, 8)}}")
    return value
