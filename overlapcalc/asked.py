"""What is asked of a plan: block sizes, axes without obstacles."""

from __future__ import annotations

from collections.abc import Mapping

from .analysis import Analysis
from .axis import no_way
from .errors import InputError, ObstacleError
from .tiling import Cutter

DEFAULT_BLOCK = 256
Blocks = int | Mapping[str, int]


def refuse_obstacles(analysis: Analysis) -> None:
    """Raises ObstacleError that names the first obstacle between any output and any input."""
    for pair in analysis.pairs:
        for axis in pair.axes:
            found = pair.obstacles(axis)
            if found:
                raise ObstacleError(no_way(pair.output, pair.input, axis, found))


def per_axis(cutters: Mapping[str, Cutter], sizes: Blocks, what: str) -> dict[str, int]:
    """A length for every axis that is cut: the same for all, or one for each that is named. Raises InputError."""
    known = ", ".join(cutters)
    if isinstance(sizes, Mapping):
        strange = [axis for axis in sizes if axis not in cutters]
        if strange:
            raise InputError(f"{what}={dict(sizes)!r}: no axis {strange[0]!r} is cut here; there is {known}")
        found = dict(sizes)
    else:
        found = dict.fromkeys(cutters, sizes)
    for axis, n in found.items():
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise InputError(f"{what}={n!r} along {axis}: expected a number of samples, at least 1")
    return found
