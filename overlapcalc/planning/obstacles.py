"""Refusing nets with obstacles: there are no plans for them, or none for this schedule."""

from __future__ import annotations

from ..analysis.analysis import Analysis
from ..analysis.axis import no_way
from ..analysis.variants import Variants
from ..errors import Argument, ObstacleError
from ..propagate.values import reads_between
from .options import AUTO, PASSES, Blocking

CROP, STREAM = "crop", "stream"


def variants_for(analysis: Analysis, schedule: str) -> Variants:
    """The net as a schedule runs it: crop by laws of every size, the others by those of this size where needed.

    Raises ObstacleError, with the first obstacle between any output and any input that is left.
    """
    if schedule == PASSES:
        return analysis.variants
    found = analysis.variants if schedule == CROP else analysis.variants.here
    try:
        refuse_obstacles(analysis, found)
    except ObstacleError as error:
        if schedule == CROP and runs_at_size_only(analysis):
            other = "; that is of tiles of the unmodified net; trim and stream can, at this size: "
            raise ObstacleError(*error.args, other, Argument("schedule", STREAM)) from None
        if all(one.how == "nothing" for one in analysis.runs.values()):
            raise
        raise ObstacleError(*error.args, f"; {_passes_text(analysis)}: ", Argument("schedule", PASSES)) from None
    return found


def schedule_for(analysis: Analysis, blocking: Blocking) -> str:
    """The requested schedule. If none is: crop, or a stream where only the laws of this size hold, or passes."""
    named = blocking.named_schedule
    if named == AUTO:
        return PASSES if _blocked(analysis, analysis.variants.here) else STREAM
    if named is not None:
        return named
    if blocking.fixed_tile is not None or not _blocked(analysis, analysis.variants):
        return CROP
    return PASSES if _blocked(analysis, analysis.variants.here) else STREAM


def runs_at_size_only(analysis: Analysis) -> bool:
    """Whether there are obstacles, and none of them at this size."""
    return _blocked(analysis, analysis.variants) and not _blocked(analysis, analysis.variants.here)


def refuse_obstacles(analysis: Analysis, variants: Variants) -> None:
    """Raises ObstacleError, with the first obstacle between any output and any input, if there is one."""
    net = variants.net
    for pair in analysis.pairs:
        for axis in pair.axes:
            via = reads_between(net, variants.output_node(pair.output), pair.input, axis).via
            if via:
                raise ObstacleError(no_way(pair.output, pair.input, axis, [o for o in net.obstacles if o in via]))


def _passes_text(analysis: Analysis) -> str:
    """What passes do: where all that they take is a state, that is a stream that carries it."""
    longest = analysis.runs[analysis.longest_axis]
    for one in (longest, *analysis.runs.values()):
        if one.state:
            return f"one pass along {one.axis} runs it exactly, band by band with that state"
    return "passes run it exactly"


def _blocked(analysis: Analysis, variants: Variants) -> bool:
    try:
        refuse_obstacles(analysis, variants)
    except ObstacleError:
        return True
    return False
