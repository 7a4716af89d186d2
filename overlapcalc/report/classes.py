"""What runs a net with obstacles exactly, axis by axis, and the class of each operator that is not local."""

from __future__ import annotations

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from ..analysis.analysis import Analysis
from ..analysis.runs import Runs


def classes_text(analysis: Analysis) -> list[RenderableType]:
    """Nothing for a net that tiles run."""
    if analysis.blocking_free:
        return []
    out: list[RenderableType] = []
    for axis, found in analysis.runs.items():
        out.append(Text.assemble((f"{axis}: ", "bold"), _sentence(found)))
        layers: dict[tuple[str, str], list[str]] = {}
        for one in analysis.classes:
            if one.axis == axis:
                layers.setdefault((one.kind, one.op.partition("::")[2]), []).append(one.layer)
        for (kind, op), names in layers.items():
            out.append(Padding(Text.assemble((kind, "bold"), f": {op} in {', '.join(names)}"), (0, 0, 0, 2)))
    return out


def _sentence(found: Runs) -> str:
    if found.how == "nothing":
        return f"nothing runs it exactly: {found.why}"
    if found.how == "passes":
        count = "1 pass runs" if found.passes == 1 else f"{found.passes} passes run"
        return f"{'streamable with state: ' if found.state else ''}{count} it exactly (schedule passes)"
    if found.how == "regions":
        return "trim and stream run it exactly, each plan at one size"
    return "tiles run it exactly"
