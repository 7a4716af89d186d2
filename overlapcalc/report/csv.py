"""An Analysis as CSV: one row per layer, input and axis, every figure in a column of its own."""

from __future__ import annotations

import csv
import io

from ..analysis.analysis import Analysis
from ..analysis.layers import LayerRow, RowAxis
from .op_text import what

COLUMNS = (
    "layer", "operator", "does", "from", "input", "axis", "size", "scale", "field_min", "field_max", "reach_before",
    "reach_after", "added_before", "added_after", "context_before", "context_after", "obstacles", "cause", "message",
    "source",
)  # fmt: skip
SEPARATOR = "; "
"""Between several names in one field."""


def to_csv(analysis: Analysis) -> str:
    """One row per layer, input and axis, below a header; an unknown figure is empty.

    scale is a fraction, such as 1/16. obstacles: the layers between the input and here that are obstacles; the figures
    are then those of what remains beside them. cause, message: where this layer is an obstacle itself.

    >>> to_csv(oc.analyze(nn.Conv1d(3, 8, 5, padding=2), (1, 3, 32))).splitlines()[0].split(",")[:4]
    ['layer', 'operator', 'does', 'from']
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    own = {(o.layer, o.axis): (o.cause, o.message) for o in reversed(analysis.obstacles)}
    for row in analysis.layers:
        for name, axes in row.against.items():
            for axis, figures in axes.items():
                why = own.get((row.name, axis), ("", "")) if row.name in figures.obstacles else ("", "")
                writer.writerow(_fields(row, name, axis, figures, why))
    return out.getvalue()


def _fields(row: LayerRow, name: str, axis: str, figures: RowAxis, why: tuple[str, str]) -> list[object]:
    before_after = [sides or ("", "") for sides in (figures.receptive_field, figures.reach, figures.added)]
    return [
        row.name, row.op, what(row), SEPARATOR.join(row.inputs), name, axis,
        _known(figures.size), _known(figures.scale), *(n for sides in before_after for n in sides),
        _known(figures.before), _known(figures.after), SEPARATOR.join(figures.obstacles), *why, row.source,
    ]  # fmt: skip


def _known(value: object) -> object:
    return "" if value is None else value
