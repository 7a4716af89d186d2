"""Two lines of the verdict on a net with obstacles: what comes before them, and what remains beside them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from ..analysis.analysis import Analysis
from ..analysis.measures import Sides

MOST = 4
"""At most this many tensors are named; JSON lists all."""


def beside(analysis: Analysis) -> list[RenderableType]:
    """The part before the obstacles, and the local part of the outputs behind them."""
    return [*_listed(_before(analysis)), *_listed(_beside(analysis))]


def _listed(lines: list[str]) -> list[RenderableType]:
    if len(lines) > MOST + 1:
        lines = [*lines[: MOST + 1], f"and {len(lines) - MOST - 1} more; the report as JSON lists all"]
    return [Padding(Text(line), (0, 0, 0, 2 if k == 0 else 4)) for k, line in enumerate(lines)]


def _before(analysis: Analysis) -> list[str]:
    part = analysis.features
    if not part.outputs:
        return ["Nothing comes before the obstacles: on every way one stands at the first operator."]
    checked = "" if part.size_verified else " (size not verified)"
    lines = [f"Before the obstacles{checked}:"]
    for pair in part.pairs:
        against = f" against {pair.input}" if len(part.inputs) > 1 else ""
        known: dict[str, list[str]] = {}
        for axis in pair.axes:
            w = pair[axis]
            if w.context is None or w.tile is None:
                continue
            text = (
                f"scale {w.scale}, {_field(w.receptive_field)}, context {'' if w.exact else 'at most '}"
                f"{_sides(w.context)}, tile {_sides(w.tile)} in steps of {w.step}"
            )
            known.setdefault(text, []).append(axis)
        lines += [f"{pair.output}{against}, {_along(axes)}: {text}" for text, axes in known.items()]
    return lines


def _beside(analysis: Analysis) -> list[str]:
    lines = ["Beside the obstacles, what they compute held fixed:"]
    for pair in analysis.pairs:
        against = f" against {pair.input}" if len(analysis.inputs) > 1 else ""
        known: dict[str, list[str]] = {}
        for axis in pair.axes:
            w = pair.local[axis] if pair.obstacles(axis) else None
            if w is not None and w.context is not None:
                text = (
                    f"scale {w.scale}, {_field(w.receptive_field)}, context {'' if w.exact else 'at most '}"
                    f"{_sides(w.context)}"
                )
                known.setdefault(text, []).append(axis)
        lines += [f"{pair.output}{against}, {_along(axes)}: {text}" for text, axes in known.items()]
    return lines if len(lines) > 1 else []


def _sides(sides: Sides) -> str:
    return f"{sides.before}, {sides.after}"


def _field(field: tuple[int, int]) -> str:
    low, high = field
    return f"field {low}" if low == high else f"field {low}-{high}"


def _along(axes: Sequence[str]) -> str:
    return " and ".join(axes)
