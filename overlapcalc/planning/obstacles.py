"""Refusing nets with obstacles, for which there are no plans."""

from __future__ import annotations

from ..analysis.analysis import Analysis
from ..analysis.axis import no_way
from ..errors import ObstacleError


def has_obstacles(analysis: Analysis) -> bool:
    """Whether anything stands in the way between any output and any input, along the axes that are asked about."""
    return any(pair.obstacles(axis) for pair in analysis.pairs for axis in pair.axes)


def refuse_obstacles(analysis: Analysis) -> None:
    """Raises ObstacleError, with the first obstacle between any output and any input, if there is one."""
    for pair in analysis.pairs:
        for axis in pair.axes:
            found = pair.obstacles(axis)
            if found:
                raise ObstacleError(no_way(pair.output, pair.input, axis, found))
