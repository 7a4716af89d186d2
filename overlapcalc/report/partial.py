"""What was found before an interruption."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.text import Text

from ..analysis.analysis import Analysis
from ..prove.error_curve import ErrorPoint
from ..prove.result import Proof
from .error_curve import points_table
from .op_text import inputs_text, outputs_text
from .verdict import grouped_obstacles, listed, sides_text
from .verification import proof_lines

NOT_COMPARED = "compared with no other size, so this holds for this size alone"


def partial_json(found: Mapping[str, Any], missing: Sequence[str]) -> str:
    """What was found, by its name, with what is missing."""
    return json.dumps({"interrupted": True, "missing": list(missing), **found}, indent=2) + "\n"


def render_proofs(proofs: Sequence[Proof], console: Console) -> None:
    console.print(Group(*(line for proof in proofs for line in proof_lines(proof))))


def render_points(points: Sequence[ErrorPoint], console: Console) -> None:
    """The rows of the error curve, tiles from the shortest to the longest."""
    ran = [point for point in points if point.errors]
    parts: list[RenderableType] = (
        [points_table(points, output, exact=False) for output in ran[-1].errors] if ran else []
    )
    parts += [Text(f"fails: {failure}") for failure in dict.fromkeys(p.failure for p in points if p.failure)]
    console.print(Group(*parts))


def analysis_json(analysis: Analysis) -> dict[str, Any]:
    """The answers of each axis, as far as they are known."""
    return {
        "inputs": {name: list(shape) for name, shape in analysis.inputs.items()},
        "size_verified": analysis.size_verified,
        "pairs": [
            {
                "output": pair.output,
                "input": pair.input,
                "axes": {
                    axis: {"obstacles": [obstacle.layer for obstacle in pair.obstacles(axis)]}
                    if pair.obstacles(axis)
                    else {"obstacles": [], **pair[axis].to_dict()}
                    for axis in pair.axes
                },
            }
            for pair in analysis.pairs
        ],
    }


def render_answers(analysis: Analysis, console: Console) -> None:
    """A line for each axis of each pair, and the obstacles."""
    parts: list[RenderableType] = [
        Text.assemble(("from ", "dim"), inputs_text(analysis), " to ", outputs_text(analysis))
    ]
    for pair in analysis.pairs:
        for axis in pair.axes:
            if pair.obstacles(axis):
                said = "no tiles of the unmodified net"
            else:
                context = pair[axis].context
                said = "reads nothing" if context is None else f"context {sides_text(context)}"
            named = f"{pair.output} against {pair.input}, {axis}" if len(analysis.pairs) > 1 else axis
            parts.append(Text(f"{named}: {said}"))
    for (op, cause, message), same in grouped_obstacles(analysis).items():
        layers, axes = (listed(dict.fromkeys(getattr(o, word) for o in same)) for word in ("layer", "axis"))
        parts.append(Text(f"  {layers}: {op.partition('::')[2]} on {axes}: {message} [{cause}]"))
    if not analysis.size_verified:
        parts.append(Text(NOT_COMPARED, style="yellow"))
    console.print(Group(*parts))
