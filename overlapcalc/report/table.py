"""An Analysis as a table and a verdict, for a terminal of any width."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..analysis import Analysis
from ..layers import LayerRow, RowAxis
from .verdict import verdict
from .words import inputs_text, outputs_text, what

UNDERLINED = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
WIDE = 110
"""From this many columns on, the table shows where single samples reach, too."""
LONG_NAME, NARROW_NAME = 40, 9


def render(analysis: Analysis, console: Console, *, note: str = "") -> None:
    """Print the tables and the verdict. note: a line under the heading, such as where the input shape comes from."""
    parts: list[RenderableType] = [_heading(analysis, note)]
    for name in analysis.inputs:
        for axes in _alike(analysis, name):
            parts += [Text(), _table(analysis, name, axes, console.width)]
    legend = "^ the row above"
    if analysis.obstacles:
        legend += "; * behind or beside an obstacle: the figures are of what remains"
    parts += [Text(legend, style="dim"), Text(), *verdict(analysis)]
    console.print(Group(*parts))


def _heading(analysis: Analysis, note: str) -> Text:
    text = Text.assemble(("from ", "dim"), inputs_text(analysis), (" to ", "dim"), outputs_text(analysis))
    if note:
        text.append(f"\n{note}", style="yellow")
    return text


def _alike(analysis: Analysis, name: str) -> list[tuple[str, ...]]:
    """Axes of an input in groups that share one table: those with equal figures in every row, but for sizes."""
    groups: dict[object, list[str]] = {}
    for axis in analysis.axes:
        rows = [row.against.get(name, {}).get(axis) for row in analysis.layers]
        if any(rows):
            groups.setdefault(tuple(_figures(r) if r else None for r in rows), []).append(axis)
    return [tuple(axes) for axes in groups.values()]


def _figures(row: RowAxis) -> tuple[object, ...]:
    return (
        row.scale, row.receptive_field, row.before, row.after,
        tuple(row.added) if row.added else None, tuple(row.reach) if row.reach else None, row.obstacles,
    )  # fmt: skip


def _table(analysis: Analysis, name: str, axes: Sequence[str], width: int) -> Table:
    wide = width >= WIDE
    several = len(analysis.inputs) > 1
    title = f"{' and '.join(axes)}, against {name}" if several else " and ".join(axes)
    table = Table(
        title=title, title_justify="left", title_style="bold", box=UNDERLINED, show_edge=False, pad_edge=False,
        padding=(0, 1), collapse_padding=True,
    )  # fmt: skip
    longest = max((len(row.name) for row in analysis.layers), default=0)
    table.add_column(
        "layer",
        overflow="fold",
        max_width=LONG_NAME,
        min_width=min(max(longest, NARROW_NAME), LONG_NAME if wide else NARROW_NAME),
    )
    table.add_column("does", overflow="fold", min_width=8)
    table.add_column("from", overflow="fold", max_width=LONG_NAME, min_width=5)
    table.add_column("size", justify="right", overflow="fold")
    table.add_column("scale", justify="right", no_wrap=True)
    table.add_column("field", justify="right", no_wrap=True)
    if wide:
        table.add_column("reach", justify="right", no_wrap=True)
    table.add_column("adds", justify="right", no_wrap=True)
    table.add_column("context", justify="right", no_wrap=True)
    above = name
    for row in analysis.layers:
        cells = [row.against.get(name, {}).get(axis) for axis in axes]
        first = cells[0]
        if first is None:
            above = ""
            continue
        table.add_row(*_row(row, first, [c for c in cells if c], above, wide))
        above = row.name
    return table


def _row(row: LayerRow, figures: RowAxis, along: list[RowAxis], above: str, wide: bool) -> list[Text]:
    out = [
        Text(row.name),
        Text(what(row)),
        Text("^" if row.inputs == (above,) else ", ".join("^" if name == above else name for name in row.inputs)),
        Text("x".join(str(c.size) for c in along) if all(c.size is not None for c in along) else "-"),
    ]
    if figures.scale is None or figures.receptive_field is None:
        lost = Text("all *" if figures.obstacles else "-", style="red")
        return [*out, Text("-"), Text("-"), *([Text("-")] if wide else []), Text("-"), lost]
    low, high = figures.receptive_field
    out += [Text(str(figures.scale)), Text(str(low) if low == high else f"{low}-{high}")]
    if wide:
        out.append(_sides(figures.reach))
    out += [_sides(figures.added), _sides((figures.before or 0, figures.after or 0))]
    if figures.obstacles:
        out[-1].append(" *", style="red")
    return out


def _sides(sides: Iterable[int] | None) -> Text:
    if sides is None:
        return Text("-")
    before, after = sides
    return Text(f"{before}, {after}", style="dim" if (before, after) == (0, 0) else "")
