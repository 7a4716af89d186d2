"""Where a net looks ahead: which outputs read what comes after them.

The own place of output o at scale s is the input samples `[floor(o*s), ceil((o+1)*s))`. Along an axis a net is causal
if no output reads a sample after its own place. The law of the interior decides that, phase by phase, for all outputs
but those near a border (a mirrored sample comes later than the position it fills); these are tested one by one, at
the analysed size. A net that pads to a multiple differs at other sizes, so with a step larger than 1 the same is tested
for the net one sample and `step - 1` samples larger, where it runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

from ..algebra.index_map import IndexMap
from ..algebra.spans import Span, Spans
from ..analysis.axis import AxisAnalysis
from ..analysis.explain import Contribution
from ..analysis.one_sided import OneSidedAxis
from ..analysis.pair import Pair
from ..analysis.variants import output_of
from ..errors import InputError, TraceError
from ..ops import Kind, kind_of
from ..propagate.backward import interior, sized
from ..propagate.grid import Grid
from ..propagate.values import Propagation, reads_between
from .claims.claim import Subject, adding, obstructed, steps_of
from .judgement import Failure


def looking_ahead(subject: Subject, pair: Pair, axis: str, allowed: int = 0) -> Iterator[Failure]:
    """The failure of one pair along one axis, at the first size that shows one. allowed: samples after its own place
    that an output may read."""
    found, where = pair[axis], subject.where(pair, axis)
    sizes = [found.size] + ([found.size + 1, found.size + found.step - 1] if found.step > 1 else [])
    for size in dict.fromkeys(sizes):
        try:
            net = found.variants.at(found.input, axis, size, False)
            output = output_of(net, found.output)
        except (TraceError, InputError):
            continue  # the net does not run at this size
        failure = _at_size(net, output, found, size, where, allowed)
        if failure is not None:
            inside = found.look_ahead is not None and found.look_ahead > allowed  # in an image of the analysed size
            yield _blamed(failure, pair, axis) if inside else failure
            return


def _at_size(net: Propagation, output: str, found: AxisAnalysis, size: int, where: str, allowed: int) -> Failure | None:
    """What looks ahead in the net at one size."""
    input, axis = found.input, found.axis
    reads = reads_between(net, output, input, axis)
    if reads.via:  # there was none at the analysed size, or the claim would have failed before
        return replace(obstructed(min(reads.via), where, ()), value=f"at {size} samples an obstacle stands in the way")
    if reads.reads is None:
        return None
    grid = Grid(net, axis)
    if net.size(output, axis) is None or not grid.same(input, output):
        return Failure(where, "no order", why="the output has no place along this axis of the input")
    scale = Fraction(grid.per_step(input), grid.per_step(output))
    inside = _past_its_place(_phases(reads.reads), scale, allowed)
    if inside:
        return Failure(where, f"inside an image{'' if size == found.size else f' of {size} samples'}, {inside}")
    at_border = _past_its_place(
        _near_borders(net, grid, output, found, reads.reads.period if reads.carried else 0), scale, allowed
    )
    if at_border:
        why = "a border that mirrors or repeats samples brings what comes later"
        return Failure(where, f"at {size} samples, {at_border}", why=why, help="zeros there")
    return None


def _phases(reads: IndexMap) -> Iterator[tuple[int, Span | None]]:
    """What each phase of the outputs reads far from any border."""
    return ((o, reads[o].hull) for o in range(reads.period))


def _near_borders(
    net: Propagation, grid: Grid, output: str, found: AxisAnalysis, more: int
) -> Iterator[tuple[int, Span | None]]:
    """What each output reads for which the law of the interior does not hold.

    more: so many steps inside are tested, too: a period of the law, where what lies before is read through a state. All
    that a state took from the border is in what the first outputs inside read, and the later ones stand further on.
    """
    length, per_step = net.size(output, found.axis), grid.per_step(output)
    assert length is not None
    first, end = grid.interior(interior(net, output, found.axis, Spans.span(0, per_step)), output)
    clean = range((first + more) * per_step, end * per_step)  # empty where the image is all border
    for o in range(length):
        if o not in clean:
            read = sized(net, output, found.axis, Spans.span(o, o + 1)).reads.get(found.input)
            yield o, None if read is None else read.hull


def _past_its_place(reads: Iterator[tuple[int, Span | None]], scale: Fraction, allowed: int) -> str:
    """The output that reads furthest past its own place, the first of such, in words; "" where none reads further than
    is allowed."""
    most, said = allowed, ""
    for o, hull in reads:
        start, end = (o * scale).__floor__(), ((o + 1) * scale).__ceil__()
        if hull is not None and hull.stop - end > most:
            most = hull.stop - end
            place = f"sample {start}" if end - start == 1 else f"samples [{start}, {end})"
            said = f"output {o} stands over {place} of the input, and reads on up to {hull.stop - 1}"
    return f"{said}, {most} later" if allowed and said else said


def _blamed(failure: Failure, pair: Pair, axis: str) -> Failure:
    """The failure with the layer that makes outputs inside an image look ahead."""
    found = pair[axis]
    if isinstance(found, OneSidedAxis):
        after, steps, exact = pair.explain_ahead(axis), [], True
    else:
        explained = pair.explain(axis)
        after, steps = explained.after, [r for r in explained.step_reasons if r.layer]
        exact = found.exact or (found.exact_after and found.context is not None and found.context.after > 0)
    way = adding(after.contributions) if after is not None else []
    ahead = _uncompensated([c.adds for c in way])
    layers = [c for c, adds in zip(way, ahead, strict=True) if adds > 0]
    if not exact:
        failure = replace(failure, value=f"{failure.value} (an upper bound)")
    if layers:
        most = max(ahead)
        worst = way[ahead.index(most)]
        assert after is not None
        net = found.variants.net
        kind = next((kind_of(node) for node in net.graph if net.names.get(node.name) == worst.layer), None)
        law, help = _law(worst, kind)
        if most < worst.adds:  # something else on the way, a pad say, takes back a part of it
            law, help = (
                "",
                f"pad {most} more before it, and as much less behind",
            )
        of = f"the {after.total} ahead" if isinstance(found, OneSidedAxis) else f"the context of {after.total} after"
        why = f"{law}adds {most} of {of}"
        return replace(failure, layer=worst.layer, why=why, source=worst.source, path=steps_of(way), help=help)
    if steps:  # it looks ahead within a block of the grid
        why = f"gives {steps[0].outputs} of its samples per {steps[0].multiple} of the input at a time"
        return replace(failure, layer=steps[0].layer, why=why, source=steps[0].source)
    return failure


def _uncompensated(adds: Sequence[Fraction]) -> list[Fraction]:
    """What each layer adds, without what others take back: a pad before a convolution, or a crop after it.

    adds: from the output back to the input. What is taken back counts against the next layers towards the output, and
    what is left of it then against those towards the input.

    >>> [int(n) for n in _uncompensated([Fraction(2), Fraction(-2), Fraction(1)])]
    [0, 0, 1]
    """
    found = list(adds)
    for i in reversed(range(len(found))):
        for k in (*reversed(range(i)), *range(i + 1, len(found))):
            if found[i] < 0 < found[k]:
                back = min(-found[i], found[k])
                found[i], found[k] = found[i] + back, found[k] - back
    return found


def _law(layer: Contribution, kind: Kind | None) -> tuple[str, str]:
    """How far a convolution reads past its own place, and the padding that would prevent it.

    The own place of output o is `[s*o, s*o + s)` of what it reads, and it reads up to `s*o + d*(k-1) - p`. ("", "") for
    other layers, and where axes differ.
    """
    k, s, d, p = (layer.detail.get(name, default) for name, default in FIGURES)
    numbers = all(isinstance(n, int) and not isinstance(n, bool) for n in (k, s, d, p))
    if not numbers or kind is not Kind.CONVOLUTION or "masked" in layer.detail:
        return "", ""
    each, before = "o" if s == 1 else f"{s}*o", max(0, d * (k - 1) + 1 - s)
    place = each if s == 1 else f"[{each}, {each} + {s})"
    law = f"its output o stands over {place} of what it reads, and reads on up to {each} + {d * (k - 1) - p}, so it "
    return law, f"pad {before} before it and nothing after"


FIGURES = (("kernel", None), ("stride", 1), ("dilation", 1), ("padding", 0))
