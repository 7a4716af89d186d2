"""Plans are for nets without obstacles."""

from __future__ import annotations

from ..analysis.analysis import Analysis
from ..analysis.axis import no_way
from ..errors import ObstacleError


def refuse_obstacles(analysis: Analysis) -> None:
    """Raises ObstacleError that names the first obstacle between any output and any input."""
    for pair in analysis.pairs:
        for axis in pair.axes:
            found = pair.obstacles(axis)
            if found:
                raise ObstacleError(no_way(pair.output, pair.input, axis, found))
