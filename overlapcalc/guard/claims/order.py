"""`causal`: no output reads what comes after it, at the borders either.

Output o of scale s stands over the input samples `[floor(o*s), ceil((o+1)*s))`. Along an axis a net is causal where no
output reads a sample behind its own place. The law of the interior says so, phase by phase, for all but the outputs
that a border spoils (a mirrored sample lies after the one that it stands for); those are looked at one by one, at the
size that was analysed. A net that pads to a multiple is another one at other sizes, so with a step larger than 1 the
same is asked of the net one sample and `step - 1` samples larger, where it runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from ...algebra.index_map import IndexMap
from ...algebra.spans import Span, Spans
from ...analysis.analysis import Pair
from ...analysis.axis import AxisAnalysis
from ...analysis.explain import Contribution
from ...analysis.source import output_of
from ...errors import InputError, TraceError
from ...ops.layout import AXES
from ...propagate.backward import interior, sized
from ...propagate.grid import Grid
from ...propagate.values import Propagation, reach_between
from ..judgement import Failure, Judgement
from .claim import Claim, Subject, WrongValue, adding, claim, in_the_way, obstructed, steps_of


@dataclass(frozen=True)
class Causal(Claim):
    """axes: of which it is claimed; all where there is none."""

    axes: tuple[str, ...]

    def judge(self, subject: Subject) -> Judgement:
        wanted = self.axes or subject.analysis.axes
        for axis in wanted:
            if axis not in subject.analysis.axes:
                known = ", ".join(subject.analysis.axes)
                raise InputError(f"{self.key} names the axis {axis}; this model is analysed along {known}")
        failures: list[Failure] = []
        for pair, axis in subject.places():
            if axis in wanted:
                failures += in_the_way(subject, pair, axis) or _looking_ahead(subject, pair, axis)
        return Judgement(self.key, self.limit, "no" if failures else f"yes, along {', '.join(wanted)}", tuple(failures))


def _looking_ahead(subject: Subject, pair: Pair, axis: str) -> Iterator[Failure]:
    """The failure of one pair along one axis, at the first size that shows one."""
    found, where = pair[axis], subject.where(pair, axis)
    sizes = [found.size] + ([found.size + 1, found.size + found.step - 1] if found.step > 1 else [])
    for size in dict.fromkeys(sizes):
        try:
            net = found.source.at(found.input, axis, size, False)
            output = output_of(net, found.output)
        except (TraceError, InputError):
            continue  # the net does not run at this size
        failure = _at_size(net, output, found, size, where)
        if failure is not None:
            explained = found.reach is not None and found.reach.after > 0  # inside an image of the analysed size
            yield _blamed(failure, pair, axis) if explained else failure
            return


def _at_size(net: Propagation, output: str, found: AxisAnalysis, size: int, where: str) -> Failure | None:
    """What looks ahead in the net of one size."""
    input, axis = found.input, found.axis
    reach = reach_between(net, output, input, axis)
    if reach.via:  # none at the analysed size, or it would have been said
        return replace(obstructed(min(reach.via), where, ()), value=f"at {size} samples an obstacle stands in the way")
    if reach.reads is None:
        return None
    grid = Grid(net, axis)
    if net.size(output, axis) is None or not grid.same(input, output):
        return Failure(where, "no order", why="the output has no place along this axis of the input")
    scale = Fraction(grid.per_step(input), grid.per_step(output))
    inside = _past_its_place(_phases(reach.reads), scale)
    if inside:
        return Failure(where, f"inside an image{'' if size == found.size else f' of {size} samples'}, {inside}")
    at_border = _past_its_place(_near_borders(net, grid, output, found), scale)
    if at_border:
        why = "a border that mirrors or repeats samples brings what comes later"
        return Failure(where, f"at {size} samples, {at_border}", why=why, help="zeros there")
    return None


def _phases(reads: IndexMap) -> Iterator[tuple[int, Span | None]]:
    """What each phase of the outputs reads where no border is near."""
    return ((o, reads[o].hull) for o in range(reads.period))


def _near_borders(net: Propagation, grid: Grid, output: str, found: AxisAnalysis) -> Iterator[tuple[int, Span | None]]:
    """What each output reads that does not lie where the law of the interior holds."""
    length, per_step = net.size(output, found.axis), grid.per_step(output)
    assert length is not None
    first, end = grid.interior(interior(net, output, found.axis, Spans.span(0, per_step)), output)
    clean = range(first * per_step, end * per_step)  # nothing where the image is all border
    for o in range(length):
        if o not in clean:
            read = sized(net, output, found.axis, Spans.span(o, o + 1)).reads.get(found.input)
            yield o, None if read is None else read.hull


def _past_its_place(reads: Iterator[tuple[int, Span | None]], scale: Fraction) -> str:
    """The first output that reads past its place, in words; "" where none does."""
    for o, hull in reads:
        start, end = (o * scale).__floor__(), ((o + 1) * scale).__ceil__()
        if hull is not None and hull.stop > end:
            place = f"sample {start}" if end - start == 1 else f"samples [{start}, {end})"
            return f"output {o} stands over {place} of the input, and reads on up to {hull.stop - 1}"
    return ""


def _blamed(failure: Failure, pair: Pair, axis: str) -> Failure:
    """With the layer that makes the outputs look ahead inside of an image."""
    explained, found = pair.explain(axis), pair[axis]
    way = adding(explained.after.contributions) if explained.after is not None else []
    ahead = _uncompensated([c.adds for c in way])
    layers = [c for c, adds in zip(way, ahead, strict=True) if adds > 0]
    if not (found.exact or (found.exact_after and found.context is not None and found.context.after > 0)):
        failure = replace(failure, value=f"{failure.value} (an upper bound)")
    if layers:
        most = max(ahead)
        worst = way[ahead.index(most)]
        assert explained.after is not None
        law, help = _law(worst)
        if most < worst.adds:  # something else on the way, a pad say, holds back a part of it
            law, help = (
                "",
                f"pad {most} more before it, and as much less behind",
            )
        why = f"{law}adds {most} of the context of {explained.after.total} after"
        return replace(failure, layer=worst.layer, why=why, source=worst.source, path=steps_of(way), help=help)
    steps = [r for r in explained.step_reasons if r.layer]  # it looks ahead within a block of the grid
    if steps:
        why = f"gives {steps[0].outputs} of its samples per {steps[0].multiple} of the input at a time"
        return replace(failure, layer=steps[0].layer, why=why, source=steps[0].source)
    return failure


def _uncompensated(adds: Sequence[Fraction]) -> list[Fraction]:
    """What each layer adds, without what others take back: a pad before a convolution, or a cut behind it.

    adds: from the output back to the input. What is taken back counts against the next layers towards the output, and
    what then is left of it against those towards the input.
    """
    found = list(adds)
    for i in reversed(range(len(found))):
        for k in (*reversed(range(i)), *range(i + 1, len(found))):
            if found[i] < 0 < found[k]:
                back = min(-found[i], found[k])
                found[i], found[k] = found[i] + back, found[k] - back
    return found


def _law(layer: Contribution) -> tuple[str, str]:
    """What a convolution reads past its own place, and the padding that would keep it from that.

    Output o stands over `[s*o, s*o + s)` of what it reads, and reads up to `s*o + d*(k-1) - p`. ("", "") for other
    layers, and where axes differ.
    """
    k, s, d, p = (layer.detail.get(name, default) for name, default in FIGURES)
    numbers = all(isinstance(n, int) and not isinstance(n, bool) for n in (k, s, d, p))
    if not numbers or "conv" not in layer.op or "transpose" in layer.op or "masked" in layer.detail:
        return "", ""
    each, before = "o" if s == 1 else f"{s}*o", max(0, d * (k - 1) + 1 - s)
    place = each if s == 1 else f"[{each}, {each} + {s})"
    law = f"its output o stands over {place} of what it reads, and reads on up to {each} + {d * (k - 1) - p}, so it "
    return law, f"pad {before} before it and nothing after"


FIGURES = (("kernel", None), ("stride", 1), ("dilation", 1), ("padding", 0))


@claim("causal", 'true, or a list of axes such as ["L"]; without the key nothing is claimed')
def causal(key: str, value: Any) -> Claim:
    if value is True:
        return Causal(key, "true", ())
    if not isinstance(value, list) or not value or not all(axis in AXES for axis in value):
        raise WrongValue
    return Causal(key, ", ".join(value), tuple(dict.fromkeys(value)))
