"""The options of a plan: block sizes, axes without obstacles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import index
from typing import Any

from ..analysis.analysis import Analysis
from ..analysis.axis import no_way
from ..errors import Argument, InputError, ObstacleError

DEFAULT_BLOCK = 256
Blocks = int | Sequence[int | None] | Mapping[str, int]
"""One length for all axes; one per axis in their order, None for a whole one; or by name, the others whole."""


def refuse_obstacles(analysis: Analysis) -> None:
    """Raises ObstacleError, with the first obstacle between any output and any input, if there is one."""
    for pair in analysis.pairs:
        for axis in pair.axes:
            found = pair.obstacles(axis)
            if found:
                raise ObstacleError(no_way(pair.output, pair.input, axis, found))


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
            raise InputError(Argument(what, dict(sizes)), f": no axis {strange[0]!r} is cut here; there is {known}")
        found: dict[str, Any] = dict(sizes)
    elif isinstance(sizes, (tuple, list)):
        if not 1 <= len(sizes) <= len(order):
            raise InputError(Argument(what, sizes), f": expected up to {len(order)} lengths, for {known} in this order")
        found = {axis: n for axis, n in zip(order, sizes, strict=False) if n is not None}
    else:
        found = dict.fromkeys(order, sizes)
    return {axis: _length(n, what, axis) for axis, n in found.items()}


def _length(n: object, what: str, axis: str) -> int:
    """A length; integers of numpy are accepted as well. Raises InputError."""
    try:
        length = 0 if isinstance(n, bool) else index(n)  # type: ignore[arg-type]
    except TypeError:
        length = 0
    if length < 1:
        raise InputError(Argument(what, n), f" along {axis}: expected a number of samples, at least 1")
    return length
