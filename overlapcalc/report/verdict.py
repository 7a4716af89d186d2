"""The verdict under the table: whether this net can run by blocks, with how much context, or which obstacles it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import prod

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..analysis.analysis import Analysis
from ..analysis.axis import AxisAnalysis
from ..analysis.measures import Sides
from ..analysis.pair import Pair
from ..analysis.sizes import SECONDS, Sizes
from ..errors import InputError
from ..propagate.values import Obstacle
from .obstacles import beside

NOUNS = {"W": "columns", "H": "rows", "D": "slices", "L": "samples"}
MOST_OBSTACLES, MOST_LAYERS = 12, 6


def verdict(
    analysis: Analysis,
    cost: str = "",
    sizes: Mapping[str, Sizes] | None = None,
    rates: Mapping[str, float] | None = None,
) -> list[RenderableType]:
    """A few lines for a person in a hurry. cost: what it takes to run what runs. sizes: those that the net accepts.
    rates: samples per second along an axis."""
    style = "bold green" if analysis.blocking_free else "bold red"
    out: list[RenderableType] = [Text.assemble(("Blocking-free", style), f": {answer(analysis, cost)}")]
    if not analysis.blocking_free:
        out += _obstacles(analysis)
        out += beside(analysis)
    for pair in analysis.pairs:
        out += _pair(analysis, pair, rates or {})
    out.append(Text(sizes_text(analysis), style="dim" if analysis.size_verified else "yellow"))
    said = accepted_text(sizes, analysis.axes)
    return [*out, Text(said)] if said else out


def accepted_text(sizes: Mapping[str, Sizes] | None, axes: Iterable[str]) -> str:
    """Which lengths of each axis the net accepts; "" where nobody asked."""
    if sizes is None:
        return ""
    alike: dict[str, list[str]] = {}
    for axis in axes:
        found = sizes.get(axis)
        said = (
            f"{found} (tried up to {found.tried})"
            if found is not None
            else "no rule was found: it runs at no other size that was tried, or trying took too long "
            f"({SECONDS:.0f} s; a smaller image takes less)"
        )
        alike.setdefault(said, []).append(axis)
    return f"Accepted sizes: {'; '.join(f'{listed(same)}: {said}' for said, same in alike.items())}."


def answer(analysis: Analysis, cost: str = "") -> str:
    """Yes or no, and for a no what runs exactly."""
    if analysis.blocking_free:
        return f"yes, along {listed(analysis.axes)}. Blocks with their context give the same output as the whole."
    layers = len({(o.layer, o.op) for o in analysis.obstacles})
    stand = "operators stand" if layers > 1 else "operator stands"
    return f"no{_instead(analysis, cost)}. {layers} {stand} in the way of tiles of the unmodified net:"


def _instead(analysis: Analysis, cost: str) -> str:
    """What runs a net with obstacles exactly."""
    found = analysis.runs[analysis.longest_axis]
    costs = f" ({cost})" if cost else ""
    if found.how == "nothing":
        return f", and nothing else runs it exactly: {found.why}"
    if found.state:
        return (
            f", but streamable with state: one pass along {found.axis} carries the state of {listed(found.state)} from "
            f"band to band{costs}"
        )
    if found.how == "passes":
        count = "one pass runs" if found.passes == 1 else f"{found.passes} passes run"
        return f", but {count} it exactly along {found.axis}{costs}"
    return f", but trim and stream run it exactly at this size{costs}"


def grouped_obstacles(analysis: Analysis) -> dict[tuple[str, str, str], list[Obstacle]]:
    """Obstacles grouped by operator, cause and message."""
    grouped: dict[tuple[str, str, str], list[Obstacle]] = {}
    for o in analysis.obstacles:
        grouped.setdefault((o.op, o.cause, o.message), []).append(o)
    return grouped


def _obstacles(analysis: Analysis) -> list[RenderableType]:
    grouped = grouped_obstacles(analysis)
    out: list[RenderableType] = []
    for (op, cause, message), same in list(grouped.items())[:MOST_OBSTACLES]:
        layers = list(dict.fromkeys(o.layer for o in same))
        more = f" and {len(layers) - MOST_LAYERS} more" if len(layers) > MOST_LAYERS else ""
        named = ", ".join(layers[:MOST_LAYERS]) + more
        axes = listed(dict.fromkeys(o.axis for o in same))
        text = Text.assemble((named, "bold"), f": {op.partition('::')[2]} on {axes}: {message} [{cause}]")
        sources = list(dict.fromkeys(o.source for o in same if o.source))
        if sources:
            text.append(f"\nat {sources[0]}{' and elsewhere' if len(sources) > 1 else ''}", style="dim")
        text.append(f"\nto change that: {same[0].help}")
        out.append(Padding(text, (0, 0, 0, 2)))
    if len(grouped) > MOST_OBSTACLES:
        out.append(Text(f"  and {len(grouped) - MOST_OBSTACLES} more; the report as JSON lists all"))
    fine = free_part(analysis)
    return [*out, Text(f"  {fine}")] if fine else out


def free_part(analysis: Analysis) -> str:
    """How much of the net is free of obstacles, in a sentence; empty where nothing is."""
    fine = [r for r in analysis.layers if not any(c.obstacles for axes in r.against.values() for c in axes.values())]
    total = len(analysis.layers)
    return f"Free of obstacles up to {fine[-1].name} ({len(fine)} of {total} rows)." if fine else ""


def _pair(analysis: Analysis, pair: Pair, rates: Mapping[str, float]) -> list[RenderableType]:
    free = [pair[axis] for axis in pair.axes if not pair.obstacles(axis)]
    out: list[RenderableType] = []
    for same in alike(free):
        names = listed([s.axis for s in same])
        title = f"{pair.output} against {pair.input}, {names}" if len(analysis.pairs) > 1 else names
        out.append(Text(title, style="bold"))
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column()
        for word, text in (*figures(same, pair), *in_time(same, rates)):
            grid.add_row(word, text, style="yellow" if text == BOUND else "")
        out.append(Padding(grid, (0, 0, 0, 2)))
    for text in ahead_texts(pair, rates, several=len(analysis.pairs) > 1):
        out.append(Text(text))
    said = cone_text(pair)
    return [*out, Padding(Text(said), (0, 0, 0, 2))] if said else out


def ahead_texts(pair: Pair, rates: Mapping[str, float], *, several: bool = False) -> list[str]:
    """For each axis on which all obstacles read nothing ahead, a sentence on how far the net does. several: there are
    several pairs."""
    out = []
    for axis in pair.axes:
        w = pair.one_sided(axis)
        if w is None:
            continue
        n = w.look_ahead
        ahead = f"an output reads at most {n} sample{'' if n == 1 else 's'} after its own place"
        if axis in rates and n > 0:
            ahead += f" ({1000 * n / rates[axis]:.4g} ms)"
        if n <= 0:
            ahead = f"causal in what it reads ahead (look-ahead {n})"
        through = listed(dict.fromkeys(f"{o.layer} ({o.op.partition('::')[2]})" for o in w.carried))
        named = f"{pair.output} against {pair.input}, {axis}" if several else axis
        out.append(f"{named}: {ahead}, unbounded behind: all before, through the state of {through}.")
    return out


def cone_text(pair: Pair) -> str:
    """That the axes together read less than their product; "" where they do not, or where one has an obstacle."""
    if len(pair.axes) < 2 or any(pair.obstacles(axis) for axis in pair.axes):
        return ""
    try:
        cone = pair.cone()
    except InputError:  # there are no cells of both
        return ""
    if not cone.smaller or cone.hull is None:
        return ""
    box, count = prod(span.length for span in cone.hull), cone.area.count
    read = f"{'' if cone.exact else 'at most '}{count} are read"
    return f"of the {box} cells that these axes span together {read}; `overlapcalc cone` shows them"


BOUND = "An upper bound: a mask or a skipped sample may make the net read less."


def figures(same: list[AxisAnalysis], pair: Pair) -> list[tuple[str, str]]:
    """The word and the text of every figure, for axes with equal figures."""
    w = same[0]
    if w.context is None or w.tile is None or w.scale is None or w.out_step is None:
        return [("", "reads nothing of this input")]
    low, high = w.receptive_field
    field = str(low) if low == high else f"{low} to {high}, by output phase"
    worst = "" if w.reach is None else f"; the worst sample reaches {w.reach.before} before, {w.reach.after} after"
    sizes = listed(dict.fromkeys(str(s.size) for s in same))
    out = [
        ("scale", scale_text(w.scale)),
        ("receptive field", field + worst),
        ("grid", f"{w.step} input to {w.out_step} output samples"),
        ("context", f"{'' if w.exact else 'at most '}{sides_text(w.context)}"),
        ("tile", f"{sides_text(w.tile)}, unmodified net, size {sizes}"),
        ("", sentence(same, pair)),
    ]
    return out if w.exact else [*out, ("", BOUND)]


def in_time(same: Iterable[AxisAnalysis], rates: Mapping[str, float]) -> list[tuple[str, str]]:
    """The word and the text of how far an output reads ahead and back, and of a step, for axes that have a rate."""
    return [
        (word, f"{n} sample{'' if n == 1 else 's'}, {1000 * n / rates[w.axis]:.4g} ms along {w.axis}")
        for w in same
        for word, n in time_of(w).items()
        if w.axis in rates
    ]


def time_of(w: AxisAnalysis) -> dict[str, int]:
    """How far an output reads ahead and back, and a step, in samples."""
    found = {"look-ahead": w.look_ahead, "history": w.history, "step": w.step}
    return {word: n for word, n in found.items() if n is not None}


def scale_text(scale: Fraction) -> str:
    inputs, outputs = scale.numerator, scale.denominator
    made = "output sample" if outputs == 1 else f"{outputs} output samples"
    return f"{inputs} input sample{'' if inputs == 1 else 's'} per {made}"


def alike(free: list[AxisAnalysis]) -> list[list[AxisAnalysis]]:
    groups: dict[object, list[AxisAnalysis]] = {}
    for w in free:
        key = (w.scale, w.receptive_field, w.step, w.out_step, w.context, w.tile, w.exact, w.reach)
        groups.setdefault(key, []).append(w)
    return list(groups.values())


def sides_text(sides: Sides) -> str:
    return f"{sides.before} before, {sides.after} after (overlap {sides.total})"


def sentence(same: list[AxisAnalysis], pair: Pair) -> str:
    """`To produce output columns [16a, 16b) this net needs input columns [a-1, b+2); rows alike.`"""
    w = same[-1]
    assert w.context is not None
    assert w.out_step is not None
    noun, *others = [NOUNS[s.axis] for s in reversed(same)]
    alike = f"; {listed(others)} alike" if others else ""
    made, read = _span(w.out_step, 0, 0), _span(w.step, -w.context.before, w.context.after)
    return f"To produce {pair.output} {noun} {made} this net needs {pair.input} {noun} {read}{alike}."


def _span(step: int, first: int, last: int) -> str:
    factor = "" if step == 1 else str(step)
    return f"[{factor}a{_signed(first)}, {factor}b{_signed(last)})"


def _signed(n: int) -> str:
    return f"{n:+d}" if n else ""


def sizes_text(analysis: Analysis) -> str:
    if analysis.verified_at is None:
        return "Size not verified: the net ran at no larger size, so this holds for this size alone."
    at = ", ".join("x".join(map(str, shape)) for shape in analysis.verified_at)
    return f"Traced again at {at} and compared{': the same law.' if analysis.blocking_free else '.'}"


def listed(items: Iterable[str]) -> str:
    words = list(items)
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
