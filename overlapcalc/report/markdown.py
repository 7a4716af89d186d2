"""An Analysis as Markdown that GitHub renders: headings, tables, and the verdict in text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ..analysis.analysis import Analysis
from ..analysis.layers import RowAxis
from ..analysis.pair import Pair
from ..analysis.sizes import Sizes
from ..errors import Spelling, python
from .fold import Line, folding, lines
from .op_text import inputs_text, outputs_text
from .table import BESIDE, alike_axes
from .verdict import (
    accepted_text,
    ahead_texts,
    alike,
    answer,
    cone_text,
    figures,
    free_part,
    grouped_obstacles,
    in_time,
    listed,
    sizes_text,
)

HEAD = ("layer", "does", "from", "size", "scale", "field", "reach", "adds", "context")
NUMBERS = 6
"""The number of columns that hold numbers."""


def to_markdown(
    analysis: Analysis,
    *,
    note: str = "",
    depth: int | None = None,
    spelling: Spelling = python,
    cost: str = "",
    sizes: Mapping[str, Sizes] | None = None,
    rates: Mapping[str, float] | None = None,
) -> str:
    """The tables and the verdict. note, depth, spelling, cost, sizes, rates: as in `table.render`."""
    out = [f"from {_plain(inputs_text(analysis))} to {_plain(outputs_text(analysis))}"]
    out += [_plain(note)] if note else []
    shown = lines(analysis.layers, depth)
    for name in analysis.inputs:
        for axes in alike_axes(analysis, name):
            several = len(analysis.inputs) > 1
            out.append(f"### {' and '.join(axes)}{f', against {_code(name)}' if several else ''}")
            out.append("\n".join(_table(shown, name, axes)))
    out += [_plain(text) for text in (BESIDE if analysis.obstacles else "", folding(shown, depth, spelling)) if text]
    out.append(f"**Blocking-free: {_plain(answer(analysis, cost)).replace('. ', '.** ', 1)}")
    if analysis.obstacles:
        out.append("\n".join(_obstacles(analysis)))
        out += [_plain(text) for text in (free_part(analysis),) if text]
    for pair in analysis.pairs:
        out += _pair(analysis, pair, rates or {})
    out += [_plain(text) for text in (sizes_text(analysis), accepted_text(sizes, analysis.axes)) if text]
    return "\n\n".join(out) + "\n"


def _table(shown: Sequence[Line], name: str, axes: Sequence[str]) -> list[str]:
    out = [_line(HEAD), _line(["---"] * (len(HEAD) - NUMBERS) + ["---:"] * NUMBERS)]
    for row in shown:
        along = [row.against[name][axis] for axis in axes if axis in row.against.get(name, {})]
        if along:
            fed = ", ".join(_code(i) for i in row.inputs)
            out.append(_line([_code(row.name), _plain(row.does), fed, *_numbers(along)]))
    return out


def _numbers(along: Sequence[RowAxis]) -> list[str]:
    w = along[0]
    size = "x".join(str(c.size) for c in along) if all(c.size is not None for c in along) else ""
    if w.scale is None or w.receptive_field is None or w.before is None or w.after is None:
        return [size, "", "", "", "", "all \\*" if w.obstacles else ""]
    low, high = w.receptive_field
    field = str(low) if low == high else f"{low}-{high}"
    star = " \\*" if w.obstacles else ""
    return [size, str(w.scale), field, _sides(w.reach), _sides(w.added), f"{w.before}, {w.after}{star}"]


def _sides(sides: Iterable[int] | None) -> str:
    return "" if sides is None else ", ".join(map(str, sides))


def _obstacles(analysis: Analysis) -> list[str]:
    out = []
    for (op, cause, message), same in grouped_obstacles(analysis).items():
        layers = ", ".join(_code(layer) for layer in dict.fromkeys(o.layer for o in same))
        axes = listed(dict.fromkeys(o.axis for o in same))
        sources = ", ".join(_code(source) for source in dict.fromkeys(o.source for o in same if o.source))
        at = f", at {sources}" if sources else ""
        out.append(
            f"- {layers}: {_code(op.partition('::')[2])} on {axes}: {_plain(f'{message} [{cause}]')}{at}. "
            f"To change that: {_plain(same[0].help)}"
        )
    return out


def _pair(analysis: Analysis, pair: Pair, rates: Mapping[str, float]) -> list[str]:
    out = []
    for same in alike([pair[axis] for axis in pair.axes if not pair.obstacles(axis)]):
        names = listed([s.axis for s in same])
        several = len(analysis.pairs) > 1
        out.append(f"**{f'{_code(pair.output)} against {_code(pair.input)}, ' if several else ''}{names}**")
        shown = [*figures(same, pair), *in_time(same, rates)]
        rows = [f"- {word}: {_plain(text)}" if word else f"- {_plain(text)}" for word, text in shown]
        out.append("\n".join(rows))
    out += [_plain(text) for text in ahead_texts(pair, rates, several=len(analysis.pairs) > 1)]
    said = cone_text(pair)
    return [*out, _plain(said)] if said else out


# ---- escapes ------------------------------------------------------------------------------------------------------


UNESCAPED, ESCAPED = re.compile(r"(?<!\\)\|"), r"\\|"


def _line(cells: Sequence[str]) -> str:
    """A row of a table. A pipe would end its cell, even in code."""
    return f"| {' | '.join(UNESCAPED.sub(ESCAPED, cell) for cell in cells)} |"


def _code(text: str) -> str:
    """A name as code: no letter has a meaning there except a backtick, which the fence must outnumber.

    >>> _code("a`b")
    '`` a`b ``'
    """
    if not text:
        return ""
    fence = "`" * (max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _plain(text: str) -> str:
    """Text with everything escaped that has a meaning in Markdown."""
    return re.sub(r"([\\`*_<>\[\]|#~])", r"\\\1", text)
