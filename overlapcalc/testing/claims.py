"""What may be claimed of a net, judged against its analysis. A failure says claim, value, why, and what would help."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

from ..analysis import Analysis, Pair
from ..axis import AxisAnalysis
from ..explain import BLOCK, Contribution, Explanation, SideExplanation
from ..report.explain import as_text, blame_text, side_text, step_text, tile_text
from ..report.words import call_words
from .limits import Limit, ScaleLimit, SidedLimit, ratios, sided, single

AS_ABOVE = "As above."


@dataclass(frozen=True)
class Claims:
    """Limits per axis and side. Raises InputError where one names an axis that is not analysed, or is no number."""

    max_context: SidedLimit | None = None
    max_tile: SidedLimit | None = None
    max_receptive_field: Limit | None = None
    step: Limit | None = None
    scale: ScaleLimit | None = None
    causal: bool = False
    size_verified: bool = True


@dataclass(frozen=True)
class Failure:
    """A claim that does not hold along an axis. found: the value in words. why: the way through the layers, and what
    would help."""

    axis: str
    pair: str
    claim: str
    found: str
    why: str


def failures(analysis: Analysis, claims: Claims) -> list[Failure]:
    """What does not hold, for every output against every input, in their order."""
    axes = analysis.axes
    limits = {
        "context": sided(claims.max_context, axes, "max_context"),
        "tile": sided(claims.max_tile, axes, "max_tile"),
    }
    fields = single(claims.max_receptive_field, axes, "max_receptive_field")
    steps, scales = single(claims.step, axes, "step"), ratios(claims.scale, axes, "scale")
    found: list[Failure] = []
    if claims.size_verified and not analysis.size_verified:
        text = "the net runs at no other size that was tried, so what it needs there is not known"
        help = "give a shape beside which it runs at larger ones, or size_verified=False to claim for this one alone"
        found.append(Failure("", "", "size_verified=True", text, f"What would help: {help}."))
    for pair in analysis.pairs:
        for axis in pair.axes:
            e, where = pair.explain(axis), (axis, _shown(analysis, pair))
            if e.obstacles:
                text = f"{len(e.obstacles)} obstacle{'s' if len(e.obstacles) > 1 else ''} in the way"
                blames = "\n".join(as_text([blame_text(b, [axis])]) for b in e.obstacles)
                found.append(Failure(*where, "blocking-free", text, blames))
                continue
            w = pair[axis]
            for what, per_side in limits.items():
                found += [Failure(*where, *text) for text in _too_much(w, e, what, per_side)]
            if axis in fields and w.receptive_field[1] > fields[axis]:
                text = f"one output reads {w.receptive_field[1]} samples, from the first to the last"
                claim = f"max_receptive_field={fields[axis]}"
                found.append(Failure(*where, claim, text, _most(e, ("before", "after"))))
            if axis in steps and w.step != steps[axis]:
                text = as_text([step_text(e)])
                found.append(Failure(*where, f"step={steps[axis]}", f"the step is {w.step}", text))
            if axis in scales and w.scale != scales[axis]:
                text = f"the scale is {w.scale}: so many input samples per output sample"
                found.append(Failure(*where, f"scale={scales[axis]}", text, as_text([step_text(e)])))
            if claims.causal:
                found += [Failure(*where, "causal=True", *text) for text in _late(w, e)]
    return found


def _shown(analysis: Analysis, pair: Pair) -> str:
    """The pair, where there are several."""
    return f"{pair.output} against {pair.input}" if len(analysis.pairs) > 1 else ""


def _too_much(
    w: AxisAnalysis, e: Explanation, what: str, limits: dict[tuple[str, str], int]
) -> Iterator[tuple[str, str, str]]:
    """The sides of the context or the tile that are larger than claimed."""
    sides = w.context if what == "context" else w.tile
    for side, exact in (("before", w.exact_before), ("after", w.exact_after)):
        limit = limits.get((w.axis, side))
        value = None if sides is None else getattr(sides, side)
        if limit is None or value is None or value <= limit:
            continue
        if what == "context":
            bound = "" if exact else " (an upper bound, which is all that is known)"
            yield f"max_context={limit}", f"context.{side} is {value}{bound}", _way(e, side)
        else:
            reason = next(tile_text(r, e.step or 1) for r in e.tile_reasons if r.side == side)
            yield f"max_tile={limit}", f"tile.{side} is {value}", f"{reason}\n{_most(e, (side,))}"


def _late(w: AxisAnalysis, e: Explanation) -> Iterator[tuple[str, str]]:
    """The first output that reads input after its own place: inside an image, or at one of its borders.

    The place of output o is `[floor(o*scale), ceil((o+1)*scale))`. Borders count: a reflection reads back into the
    image, before it and after it. Every output of the analysed size is looked at.
    """
    law = w._reach.reads
    if law is None or w.scale is None or w.out_size is None:
        return
    inside = ((o, w.reads(o, o + 1), "inside an image") for o in range(law.period))
    borders = ((o, w.reads(o, o + 1, size=w.size), f"of an image of {w.size}") for o in range(w.out_size))
    for looked in (inside, borders):
        for o, read, where in looked:
            own = ceil((o + 1) * w.scale)
            if read is not None and read.stop > own:
                text = f"output {o} {where} stands at input samples up to {own - 1} and reads up to {read.stop - 1}"
                yield text, _way(e, "after")
                return


def _way(e: Explanation, side: str) -> str:
    """The layers from the output to the farthest input sample of a side, and the one that adds the most."""
    found: SideExplanation | None = getattr(e, side)
    if found is None:
        return "The outputs read nothing inside of an image."
    return f"{as_text(side_text(found, e))}\n{_most(e, (side,))}"


def _most(e: Explanation, sides: tuple[str, ...]) -> str:
    """What would help: the layer that adds the most."""
    listed: list[Contribution] = []
    for side in sides:
        found: SideExplanation | None = getattr(e, side)
        listed += [c for c in (found.contributions if found else ()) if c.op != BLOCK and c.adds > 0]
    if not listed:
        return "What would help: no layer adds to this side; allow more, or another grid."
    c = max(listed, key=lambda c: c.adds)
    words = call_words(c.op, c.detail)
    called = c.layer if words == c.layer else f"{c.layer} ({words})"
    at = f"\nat {c.source}" if c.source else ""
    return f"What would help: allow more, or make less of {called}, which adds {c.adds}, the most{at}"


def message(title: str, found: list[Failure]) -> str:
    """All failures, those of several axes that read the same together."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for f in found:
        groups.setdefault((f.pair, f.claim, f.found, f.why.replace(f" on {f.axis}: ", " on: ")), []).append(f.axis)
    parts, said = [title], set[str]()
    for (pair, claim, text, why), axes in groups.items():
        along = " and ".join(axis for axis in axes if axis)
        where = ", ".join(word for word in (pair, along) if word)
        shown = AS_ABOVE if why in said else why.replace(" on: ", f" on {along}: ")
        said.add(why)
        head = f"{where}: {claim}" if where else claim
        parts.append("\n".join([f"{head} does not hold: {text}", *(f"    {line}" for line in shown.splitlines())]))
    return "\n\n".join(parts)
