"""Explanations as tables and sentences, and as JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..analysis.analysis import Analysis
from ..analysis.explain import BLOCK, Contribution, Explanation, SideExplanation
from ..analysis.pair import Pair
from ..analysis.plain import SCHEMA_VERSION
from ..analysis.reasons import Blame, StepReason, TileReason
from .classes import classes_text
from .op_text import call_words

UNDERLINED = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
MOST_TIES, MOST_WAY = 4, 8
LONG_NAME = 40
TEXT_WIDTH = 96


@dataclass(frozen=True)
class Explained:
    """The pairs of an analysis to explain."""

    analysis: Analysis
    pairs: tuple[Pair, ...]

    @property
    def blocking_free(self) -> bool:
        """No obstacle in any of these pairs."""
        return not any(pair.obstacles(axis) for pair in self.pairs for axis in pair.axes)


def explained_json(explained: Explained) -> str:
    """The explanations as text, with a newline at the end; fractions are strings such as "3/8"."""
    analysis = explained.analysis
    data = {
        "schema_version": SCHEMA_VERSION,
        "inputs": {name: list(shape) for name, shape in analysis.inputs.items()},
        "outputs": {name: list(shape) for name, shape in analysis.outputs.items()},
        "axes": list(analysis.axes),
        "size_verified": analysis.size_verified,
        "classes": [one.to_dict() for one in analysis.classes],
        "runs": {axis: found.to_dict() for axis, found in analysis.runs.items()},
        "explanations": [pair.explain(axis).to_dict() for pair in explained.pairs for axis in pair.axes],
    }
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def side_as_text(e: Explanation, side: str) -> str:
    """What makes up "before" or "after", layer by layer, without colours, for a message; "" where nothing is read."""
    found: SideExplanation | None = getattr(e, side)
    if found is None:
        return ""
    out = io.StringIO()
    console = Console(file=out, width=TEXT_WIDTH, color_system=None, highlight=False, emoji=False, markup=False)
    console.print(Group(*_side_text(found, e)))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def render_explained(explained: Explained, console: Console, *, note: str = "") -> None:
    """Print why: per pair and axis the path that sets each side, the step, the tile, the obstacles; and what runs a net
    with obstacles instead."""
    parts: list[RenderableType] = [Text(note, style="yellow")] if note else []
    for pair in explained.pairs:
        for same in _alike([pair.explain(axis) for axis in pair.axes]):
            parts += [Text(), *_explanation(same)] if parts else _explanation(same)
    instead = classes_text(explained.analysis)
    parts += [Text(), *instead] if instead else []
    console.print(Group(*parts))


def _alike(found: list[Explanation]) -> list[list[Explanation]]:
    """Axes in groups of equal explanations."""
    groups: dict[str, list[Explanation]] = {}
    for e in found:
        blames = [(repr(b.way), b.text, b.obstacle.layer, b.obstacle.message, b.obstacle.source) for b in e.obstacles]
        tiles = [tile_text(r, e.step or 1) for r in e.tile_reasons]
        groups.setdefault(repr((e.before, e.after, e.step_reasons, tiles, blames)), []).append(e)
    return list(groups.values())


def _explanation(same: Sequence[Explanation]) -> list[RenderableType]:
    e = same[0]
    title = f"{e.output} against {e.input}, {' and '.join(s.axis for s in same)}"
    if e.obstacles:
        count = len(e.obstacles)
        stand = f"{count} obstacles stand" if count > 1 else "1 obstacle stands"
        out: list[RenderableType] = [Text.assemble((title, "bold"), f": no context; {stand} in the way.")]
        for b in e.obstacles:
            out += [Text(), Padding(_blame_text(b, [s.axis for s in same]), (0, 0, 0, 2))]
        return out
    if e.before is None or e.after is None:
        return [Text.assemble((title, "bold"), ": reads nothing of this input.")]
    out = [Text.assemble((title, "bold"), f": context {e.before.total} before, {e.after.total} after.")]
    for side in (e.before, e.after):
        out += [Text(), *_side_text(side, e)]
    out.append(Text())
    out.append(_step_text(e))
    out += [Text(tile_text(r, e.step or 1)) for r in e.tile_reasons]
    return out


def _side_text(side: SideExplanation, e: Explanation) -> list[RenderableType]:
    """What makes up a side of the context, layer by layer."""
    end = "first" if side.side == "before" else "last"
    first = side.contributions[0]
    what = "is" if side.exact else "may be"
    head = (
        f"{side.total} {side.side}: input sample {side.sample} {what} the {end} that outputs [0, {e.out_step}) read, "
        f"by way of output sample {first.reads}."
    )
    shown = [c for c in side.contributions if c.adds]
    out: list[RenderableType] = [Text(head)]
    if not side.exact:
        out.append(Text("An upper bound: a mask or a skipped sample may make the net read less.", style="yellow"))
    if shown:
        out.append(_table(side))
    rest = sum(c.op != BLOCK for c in side.contributions) - sum(c.op != BLOCK for c in shown)
    if rest:
        more = "and " if shown else ""
        out.append(Text(f"{more}{rest} layer{'s' if rest > 1 else ''} that add{'' if rest > 1 else 's'} nothing"))
    return out + _ties(side.contributions)


def _table(side: SideExplanation) -> Table:
    table = Table(box=UNDERLINED, show_edge=False, pad_edge=False, padding=(0, 1), collapse_padding=True)
    table.add_column("layer", overflow="fold", max_width=LONG_NAME, min_width=5)
    table.add_column("does", overflow="fold", min_width=8)
    table.add_column("sample", justify="right", no_wrap=True)
    table.add_column("reads", justify="right", no_wrap=True)
    table.add_column("of", overflow="fold", max_width=LONG_NAME, min_width=5)
    table.add_column("adds", justify="right", no_wrap=True)
    table.add_column("so far", justify="right", no_wrap=True)
    for c, total in zip(side.contributions, accumulate(c.adds for c in side.contributions), strict=True):
        if not c.adds:
            continue
        does = f"block of {c.detail['size']}" if c.op == BLOCK else call_words(c.op, c.detail)
        table.add_row(c.layer, does, str(c.sample), str(c.reads), c.operand, str(c.adds), str(total))
    return table


def _ties(contributions: Sequence[Contribution]) -> list[RenderableType]:
    """The contributions that could have been others: ties."""
    others = list(dict.fromkeys(o for c in contributions for o in c.others))
    samples = [c.layer for c in contributions if c.tied and not c.others and c.op != BLOCK]
    out: list[RenderableType] = []
    if any(c.tied for c in contributions if c.op == BLOCK):
        out.append(Text("Other outputs of the block reach as far, too.", style="dim"))
    if others:
        out.append(Text(f"As far also by way of {_few(others)}.", style="dim"))
    if samples:
        text = f"Other samples of what {_few(samples)} read{'s' if len(samples) == 1 else ''} reach as far, too."
        out.append(Text(text, style="dim"))
    return out


def _few(names: Sequence[str]) -> str:
    rest = f" and {len(names) - MOST_TIES} more" if len(names) > MOST_TIES else ""
    return ", ".join(names[:MOST_TIES]) + rest


def _step_text(e: Explanation) -> Text:
    """The layers that set the step."""
    grid = f"step {e.step} ({e.out_step} output sample{'s' if e.out_step != 1 else ''})"
    if not e.step_reasons:
        return Text(f"{grid}: every layer is on phase at every sample.")
    reasons = "; ".join(_step_reason(r) for r in e.step_reasons)
    return Text(f"{grid}: {reasons}.")


def _step_reason(r: StepReason) -> str:
    if r.why == "size":
        return "the net means the same only at every so many samples of the image's size (it pads to a multiple, say)"
    does = call_words(r.op, r.detail)
    called = r.layer if does == r.layer else f"{r.layer} ({does})"
    per = f"per {r.multiple} input samples"
    if r.why == "whole":
        text = f"{called} gives 1 sample {per}"
    elif r.why == "period":
        text = f"{called} repeats every {r.outputs} samples of its output, {per}"
    else:
        text = f"{called} joins a constant that repeats every {r.outputs} samples, {per}"
    more = f", and {r.also} more layer{'s' if r.also > 1 else ''} ask{'s' if r.also == 1 else ''} for as much"
    return text + (more if r.also else "")


def tile_text(r: TileReason, step: int) -> str:
    """The tensor that sets a side of the tile."""
    head = f"tile {r.total} {r.side}: "
    samples = f"{r.needs} sample{'s' if r.needs != 1 else ''}"
    if r.needs <= 0 and r.total == 0:
        return f"{head}no tensor must exist beyond the block's own place"
    own = f" of {step}"
    if r.per_step != step:
        own = f" ({r.per_step} sample{'s' if r.per_step != 1 else ''} of it, {step} of the input)"
    steps = f", rounded up to whole steps{own}" if step > 1 or r.per_step > 1 else ""
    lack = ""
    if r.total != max(0, -(-r.needs // r.per_step)) * step:
        lack = f"; of a whole image it has {r.length}"
    return f"{head}{r.layer} must hold {samples} {r.side} the block's own place{steps}{lack}"


def _blame_text(b: Blame, axes: Sequence[str]) -> Text:
    """An obstacle: its place, its cause, the path to it, what would help."""
    o = b.obstacle
    along = " and ".join(axes)
    text = Text.assemble((o.layer, "bold"), f": {o.op.partition('::')[2]} on {along}: {o.message} [{o.cause}]")
    if o.source:
        text.append(f"\nat {o.source}{f': {b.text}' if b.text else ''}", style="dim")
    if b.way:
        way = b.way
        if len(way) > MOST_WAY:
            way = (*way[: MOST_WAY // 2], f"({len(way) - MOST_WAY} more)", *way[-MOST_WAY // 2 :])
        text.append(f"\nreached by {' > '.join(way)}")
    if o.help:
        text.append(f"\nto change that: {o.help}")
    return text
