"""From an Analysis to claims and refusals that runs of the net can be held against."""

from __future__ import annotations

from collections.abc import Callable

import overlapcalc as oc

from .answers import Claim, Half
from .refusals import Refused


def claims_of(analysis: oc.Analysis, axis: str) -> list[Claim]:
    """What is claimed along one axis at the analysed size, for every pair without an obstacle."""
    grid = analysis.grid[axis]
    steps = tuple(grid.step.get(name, 0) for name in analysis.inputs)
    found = []
    for pair in analysis.pairs:
        if axis not in pair.axes or pair.obstacles(axis):
            continue
        w = pair[axis]
        if w.out_size is None or w.out_step is None or w.scale is None:
            continue  # the output does not have the axis, or does not read this input
        found.append(
            Claim(
                list(analysis.outputs).index(pair.output), list(analysis.inputs).index(pair.input),
                place_of(analysis, pair.input, axis), w.size, w.out_size, steps, w.out_step,
                (w.exact and w.exact_before, w.exact and w.exact_after),
                None if w.context is None else (w.context.before, w.context.after), _reads(w), _tile(w),
            )
        )  # fmt: skip
    return found


def place_of(analysis: oc.Analysis, input: str, axis: str) -> int:
    """The place of an axis among the spatial dimensions of an input."""
    spatial = len(analysis.inputs[input]) - 2
    return {1: "L", 2: "HW", 3: "DHW"}[spatial].index(axis)


def _reads(w: oc.AxisAnalysis) -> Callable[[int, int], Half | None]:
    def reads(start: int, stop: int) -> Half | None:
        span = w.reads(start, stop, size=w.size)
        return None if span is None else (span.start, span.stop)

    return reads


def _tile(w: oc.AxisAnalysis) -> Callable[[int, int], Half]:
    def tile(start: int, stop: int) -> Half:
        span = w.tile_span(start, stop)
        return span.start, span.stop

    return tile


def refusals_of(analysis: oc.Analysis) -> list[tuple[Refused, str]]:
    """Every pair and axis with an obstacle, and what it is called."""
    outputs, inputs = list(analysis.outputs), list(analysis.inputs)
    return [
        (
            Refused(outputs.index(pair.output), inputs.index(pair.input), place_of(analysis, pair.input, axis)),
            f"{pair.output} from {pair.input} along {axis}",
        )
        for pair in analysis.pairs
        for axis in pair.axes
        if pair.obstacles(axis)
    ]
