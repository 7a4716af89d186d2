"""An Analysis as a table and a verdict, for a terminal of any width."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..analysis.analysis import Analysis
from ..analysis.layers import RowAxis
from ..analysis.sizes import Sizes
from ..errors import Spelling, python
from .fold import Line, folding, lines
from .line_breaks import broken, fitted
from .op_text import inputs_text, outputs_text
from .verdict import verdict

UNDERLINED = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
WIDE = 110
"""From this many columns on, the table also shows the reach of single samples."""
LONG_NAME = 40
"""Words longer than this are broken first."""
WORDS, DOTS = ("layer", "does", "from"), (True, False, True)
"""The columns of words, and whether they hold names, which break at their dots."""
LEAST = (9, 8, 5)
"""The least width of these columns where there is room."""
LEAST_ROOM = 24
"""The words take this much even where that leaves too little room for the numbers."""
BETWEEN = 2
"""Letters between two columns."""
BESIDE = "* behind or beside an obstacle: the figures are of what remains"


def render(
    analysis: Analysis,
    console: Console,
    *,
    note: str = "",
    depth: int | None = None,
    spelling: Spelling = python,
    cost: str = "",
    sizes: Mapping[str, Sizes] | None = None,
    rates: Mapping[str, float] | None = None,
) -> None:
    """Print the tables and the verdict.

    note: a line under the heading, such as where the input shape comes from. depth: how to fold long tables (see
    fold.py). spelling: how a hint names an argument. cost: of what runs a net with obstacles, in a few words.
    sizes: those that the net accepts, per axis, if they were asked for. rates: samples per second, of axes in time.
    """
    parts: list[RenderableType] = [_heading(analysis, note)]
    shown = lines(analysis.layers, depth)
    for name in analysis.inputs:
        for axes in alike_axes(analysis, name):
            parts += [Text(), _table(analysis, shown, name, axes, console.width)]
    legend = "^ the row above"
    if analysis.obstacles:
        legend += f"; {BESIDE}"
    folded = folding(shown, depth, spelling)
    parts += [Text(f"{legend}\n{folded}" if folded else legend, style="dim"), Text()]
    parts += verdict(analysis, cost, sizes, rates)
    console.print(Group(*parts))


def _heading(analysis: Analysis, note: str) -> Text:
    text = Text.assemble(("from ", "dim"), inputs_text(analysis), (" to ", "dim"), outputs_text(analysis))
    if note:
        text.append(f"\n{note}", style="yellow")
    return text


def alike_axes(analysis: Analysis, name: str) -> list[tuple[str, ...]]:
    """Axes of an input in groups that share one table: those with equal figures in every row, except sizes."""
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


def _table(analysis: Analysis, shown: Sequence[Line], name: str, axes: Sequence[str], width: int) -> Table:
    wide = width >= WIDE
    words: list[tuple[str, str, str]] = []
    numbers: list[list[Text]] = []
    above = name
    for row in shown:
        along = [row.against[name][axis] for axis in axes if axis in row.against.get(name, {})]
        if not along:
            above = ""
            continue
        fed = ", ".join("^" if i == above else i for i in row.inputs)
        words.append((row.name, row.does, fed))
        numbers.append(_numbers(along[0], along, wide))
        above = row.name
    several = len(analysis.inputs) > 1
    title = f"{' and '.join(axes)}, against {name}" if several else " and ".join(axes)
    table = Table(
        title=title, title_justify="left", title_style="bold", box=UNDERLINED, show_edge=False, pad_edge=False,
        padding=(0, 1), collapse_padding=True,
    )  # fmt: skip
    heads = ["size", "scale", "field", *(["reach"] if wide else []), "adds", "context"]
    rigid = sum(max([len(head), *(len(row[i]) for row in numbers)]) for i, head in enumerate(heads))
    room = max(LEAST_ROOM, width - rigid - BETWEEN * (len(heads) + len(WORDS) - 1))
    widths = _widths(words, room)
    for head, most in zip(WORDS, widths, strict=True):
        table.add_column(head, width=most, overflow="fold")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for (layer, does, fed), cells in zip(words, numbers, strict=True):
        texts = zip((layer, does, fed), widths, DOTS, strict=True)
        table.add_row(*(Text("\n".join(broken(text, most, dots=dots))) for text, most, dots in texts), *cells)
    return table


def _widths(words: Sequence[tuple[str, str, str]], room: int) -> tuple[int, ...]:
    """Widths of the columns of words: what they need; where there is no room for that, those with the fewest lines."""
    columns = [([head, *(row[i] for row in words)], DOTS[i]) for i, head in enumerate(WORDS)]
    longest = [max([least, *map(len, column)]) for (column, _), least in zip(columns, LEAST, strict=True)]
    if sum(longest) > room:
        longest = [min(n, LONG_NAME) for n in longest]
    return tuple(longest) if sum(longest) <= room else fitted(columns, room)


def _numbers(figures: RowAxis, along: list[RowAxis], wide: bool) -> list[Text]:
    out = [Text("x".join(str(c.size) for c in along) if all(c.size is not None for c in along) else "-")]
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
