"""Long tables folded: rows that say nothing new become one line, which says how many they are.

Two ways. Modules: with a depth, rows below that many path components become one line per module, which shows the
figures at the module's end and what it added in total. Repeats: runs of rows that follow each other and differ by the
same amounts each time (a chain of residual blocks) are shown once, then in one line for all others. No figure is lost:
those of each run are those of the run before it plus the same amounts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..analysis.layers import LayerRow, RowAxis
from ..analysis.measures import Sides
from ..errors import Argument, Spelling
from .op_text import what

LONG = 30
"""Repeats are folded in tables with more rows than this."""
LONGEST_BLOCK = 64
LEAST_SAVED = 3
"""Saving fewer lines than this is not worth folding."""
HINT = 60
"""Tables that are still longer than this say how to fold them by module."""

Against = Mapping[str, Mapping[str, RowAxis]]


@dataclass(frozen=True)
class Line:
    """A line of a table, for one row or several. inputs: names of rows, lines and inputs that feed it. rows: how many
    rows it stands for. each: for repeats, how many rows one run has."""

    name: str
    does: str
    inputs: tuple[str, ...]
    against: Against
    rows: int = 1
    each: int = 0


def lines(rows: Sequence[LayerRow], depth: int | None) -> tuple[Line, ...]:
    """The rows of a table as lines. depth: None folds repeats in long tables, 0 folds nothing, N folds modules too."""
    plain = [Line(row.name, what(row), row.inputs, row.against) for row in rows]
    if depth:
        plain = _modules(plain, depth)
    if depth != 0 and len(plain) > LONG:
        plain = _repeats(plain)
    return tuple(plain)


def folding(shown: Sequence[Line], depth: int | None, spelling: Spelling) -> str:
    """What was folded, and how to see everything; or how to fold a table that is still long."""
    parts = []
    modules = sum(line.rows for line in shown if line.rows > 1 and not line.each)
    repeats = sum(line.rows for line in shown if line.each)
    if modules:
        parts.append(f"{modules} rows in lines of modules, which show what the module gives at its end and adds in all")
    if repeats:
        parts.append(
            f"{repeats} rows in lines with x: the rows just above, so many times more, adding the same each time; such "
            "a line shows the last of them, and what they add in all"
        )
    if parts:
        return f"folded: {'; '.join(parts)}; {spelling(Argument('depth', 0))} shows every row"
    if len(shown) > HINT and depth is None:
        two, one = (spelling(Argument("depth", n)) for n in (2, 1))
        return f"{len(shown)} rows; {two} shows one line per module, {one} fewer"
    return ""


# ---- modules --------------------------------------------------------------------------------------------------


def _modules(rows: Sequence[Line], depth: int) -> list[Line]:
    """Consecutive rows of one module at that depth become one line."""
    runs: list[tuple[str, list[Line]]] = []
    for row in rows:
        parts = row.name.split(".")
        module = ".".join(parts[:depth]) if len(parts) > depth else ""
        if module and runs and runs[-1][0] == module:
            runs[-1][1].append(row)
        else:
            runs.append((module, [row]))
    taken = {row.name for module, run in runs if not module or len(run) == 1 for row in run}
    known = {row.name: row for row in rows}
    out: list[Line] = []
    new: dict[str, str] = {}
    for module, run in runs:
        if len(run) == 1:
            out.append(replace(run[0], inputs=_renamed(run[0].inputs, new)))
            continue
        name, again = module, 1
        while name in taken:
            again += 1
            name = f"{module}#{again}"
        taken.add(name)
        inside = {row.name for row in run}
        outside = tuple(dict.fromkeys(i for row in run for i in row.inputs if i not in inside))
        against = _summed(run[-1].against, [known[i].against for i in outside if i in known], outside)
        out.append(Line(name, f"{len(run)} rows", _renamed(outside, new), against, len(run)))
        new[run[-1].name] = name
    return out


def _renamed(names: tuple[str, ...], new: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(new.get(name, name) for name in names))


def _summed(end: Against, before: Sequence[Against], fed: Sequence[str]) -> Against:
    """The figures at the end, with what was added to the largest of what came in."""
    out: dict[str, dict[str, RowAxis]] = {}
    for inp, axes in end.items():
        for axis, last in axes.items():
            came = [a[inp][axis] for a in before if axis in a.get(inp, {})]
            pairs = [(c.before, c.after) for c in came if c.before is not None and c.after is not None]
            if inp in fed:
                pairs.append((0, 0))
            added = None
            if pairs and last.before is not None and last.after is not None:
                added = Sides(last.before - max(b for b, _ in pairs), last.after - max(a for _, a in pairs))
            out.setdefault(inp, {})[axis] = replace(last, added=added)
    return out


# ---- repeats --------------------------------------------------------------------------------------------------


def _repeats(rows: Sequence[Line]) -> list[Line]:
    place = {row.name: i for i, row in enumerate(rows)}
    out: list[Line] = []
    new: dict[str, str] = {}
    i = 0
    while i < len(rows):
        found = _best(rows, place, i)
        if found is None or _better_later(rows, place, i, found):
            out.append(replace(rows[i], inputs=_renamed(rows[i].inputs, new)))
            i += 1
            continue
        period, times = found
        out += [replace(row, inputs=_renamed(row.inputs, new)) for row in rows[i : i + period]]
        rest = rows[i + period : i + period * times]
        name = _span(rows[i + period : i + 2 * period], rest[-period:])
        does = f"x {times - 1}" if period == 1 else f"{period} rows above x {times - 1}"
        against = _summed(rest[-1].against, [rows[i + period - 1].against], ())
        out.append(Line(name, does, (out[-1].name,), against, len(rest), period))
        new[rest[-1].name] = name
        i += period * times
    return out


def _best(rows: Sequence[Line], place: Mapping[str, int], start: int) -> tuple[int, int] | None:
    """The length of a run that begins here and how often it repeats, chosen so that most lines are saved."""
    best: tuple[int, int] | None = None
    most = LEAST_SAVED - 1
    for period in range(1, min(LONGEST_BLOCK, (len(rows) - start) // 3) + 1):
        times = _times(rows, place, start, period)
        saved = (times - 1) * period - 1
        if times >= 3 and saved > most:
            best, most = (period, times), saved
    return best


def _better_later(rows: Sequence[Line], place: Mapping[str, int], start: int, found: tuple[int, int]) -> bool:
    """Whether a run that begins some rows later saves about as much, and is a module where this one is not."""
    period, times = found
    if period == 1 or _is_module(rows, start, period):
        return False
    later = ((i, _best(rows, place, i)) for i in range(start + 1, min(start + period, len(rows))))
    return any(b is not None and b[1] >= times - 1 and _is_module(rows, i, b[0]) for i, b in later)


def _is_module(rows: Sequence[Line], start: int, period: int) -> bool:
    first, second = (_module([r.name for r in rows[i : i + period]]) for i in (start, start + period))
    return bool(first) and first != second


def _times(rows: Sequence[Line], place: Mapping[str, int], start: int, period: int) -> int:
    first = _steps(rows, place, start, period)
    times = 2
    if first is None:
        return 1
    while start + period * (times + 1) <= len(rows):
        if _steps(rows, place, start + period * (times - 1), period) != first:
            break
        times += 1
    return times


def _steps(
    rows: Sequence[Line], place: Mapping[str, int], start: int, period: int
) -> tuple[tuple[int | None, ...], ...] | None:
    """How much each row of a run differs from its counterpart in the next run; None where they are not alike."""
    out = []
    for i in range(start, start + period):
        step = _step(rows[i], rows[i + period], place, period)
        if step is None:
            return None
        out.append(step)
    return tuple(out)


def _step(a: Line, b: Line, place: Mapping[str, int], period: int) -> tuple[int | None, ...] | None:
    if (a.does, a.rows, a.each) != (b.does, b.rows, b.each):
        return None
    named = [re.split(r"(\d+)", line.name) for line in (a, b)]
    if named[0][::2] != named[1][::2] or len(a.inputs) != len(b.inputs):
        return None
    names = [int(y) - int(x) for x, y in zip(named[0][1::2], named[1][1::2], strict=True)]
    for x, y in zip(a.inputs, b.inputs, strict=True):
        moved = place.get(y, -1) - place.get(x, -1)
        if x != y and moved != period:
            return None
    figures = list(_figures(a.against, b.against))
    return None if None in figures else (*names, *(f for pair in figures if pair is not None for f in pair))


def _figures(a: Against, b: Against) -> Iterator[tuple[int | None, ...] | None]:
    """The differences of all figures; None where something that should be alike is not."""
    if {i: tuple(axes) for i, axes in a.items()} != {i: tuple(axes) for i, axes in b.items()}:
        yield None
        return
    for inp, axes in a.items():
        for axis, x in axes.items():
            y = b[inp][axis]
            if (x.size, x.scale, x.added, x.obstacles) != (y.size, y.scale, y.added, y.obstacles):
                yield None
                continue
            xs, ys = _numbers(x), _numbers(y)
            if [n is None for n in xs] != [n is None for n in ys]:
                yield None
                continue
            yield tuple(None if m is None or n is None else n - m for m, n in zip(xs, ys, strict=True))


def _numbers(row: RowAxis) -> tuple[int | None, ...]:
    return (*(row.receptive_field or (None, None)), row.before, row.after, *(row.reach or (None, None)))


def _span(first: Sequence[Line], last: Sequence[Line]) -> str:
    """`body.1 to body.15`: the modules of the first and the last folded run, or their first and last row."""
    heads = [_module([line.name for line in block]) for block in (first, last)]
    if not heads[0] or heads[0] == heads[1]:
        heads = [first[0].name, last[-1].name]
    return heads[0] if heads[0] == heads[1] else f"{heads[0]} to {heads[1]}"


def _module(names: Sequence[str]) -> str:
    """The path with which all names begin.

    >>> _module(["body.1.conv", "body.1.norm"])
    'body.1'
    """
    if len(names) == 1:
        return names[0]
    common = []
    for parts in zip(*(name.split(".") for name in names), strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return ".".join(common)
