"""`causal`: no output reads what comes after it, at the borders either.

Output o of scale s stands over the input samples `[floor(o*s), ceil((o+1)*s))`. Along an axis a net is causal where no
output reads a sample behind its own place. The law of the interior says so for all but the outputs that a border
spoils (a mirrored sample lies after the one that it stands for); those are looked at one by one, at the size of the
configured input. A net that pads to a multiple is another one at other sizes, so with a step larger than 1 it is also
looked at one sample and `step - 1` samples larger, where it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ...analysis import Pair
from ...axis import AxisAnalysis
from ...demand import interior, sized
from ...errors import InputError, TraceError
from ...index import Span, Spans
from ...lattice import Lattice
from ...layout import AXES
from ...source import output_of
from ..judgement import Failure, Judgement
from .claim import Claim, Subject, WrongValue, adding, claim, in_the_way, steps_of


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
    """The failure of one pair along one axis, if it is one."""
    found, where = pair[axis], subject.where(pair, axis)
    if found.context is None:
        return
    if found.scale is None or found.reach is None:
        yield Failure(where, "no order", why="the output has no place along this axis of the input")
        return
    if found.reach.after > 0:
        yield _in_the_interior(pair, found, where)
        return
    sizes = [found.size] + ([found.size + 1, found.size + found.step - 1] if found.step > 1 else [])
    for size in dict.fromkeys(sizes):
        ahead = _at_a_border(found, size)
        if ahead is not None:
            output, read, place = ahead
            value = f"at {size} samples, output {output} reads up to sample {read}, its place ends at {place}"
            yield Failure(where, value, why="a border that mirrors or repeats samples brings what comes later")
            return


def _in_the_interior(pair: Pair, found: AxisAnalysis, where: str) -> Failure:
    assert found.reach is not None
    ahead = found.reach.after
    value = f"an output reads {ahead} sample{'s' if ahead > 1 else ''} after its own place"
    explained = pair.explain(found.axis)
    layers = [c for c in adding(explained.after.contributions) if c.adds > 0] if explained.after is not None else []
    if layers:
        worst = max(layers, key=lambda c: c.adds)
        return Failure(where, value, worst.layer, f"adds {worst.adds}", worst.source, steps_of(layers))
    steps = [r for r in explained.step_reasons if r.layer]  # it looks ahead within a block of the grid
    if steps:
        why = f"gives {steps[0].outputs} of its samples per {steps[0].multiple} of the input at a time"
        return Failure(where, value, steps[0].layer, why, steps[0].source)
    return Failure(where, value)


def _at_a_border(found: AxisAnalysis, size: int) -> tuple[int, int, int] | None:
    """An output that reads past its place at a size, the last sample that it reads and the last of its place."""
    try:
        net = found._source.at(found.input, found.axis, size, False)
    except (TraceError, InputError):
        return None  # the net does not run at this size
    output, axis = output_of(net, found.output), found.axis
    length, lattice = net.size(output, axis), Lattice(net, axis)
    assert length is not None
    assert found.scale is not None
    per_step = lattice.per_step(output)
    first, end = lattice.interior(interior(net, output, axis, Spans.span(0, per_step)), output)
    clean = Span(first * per_step, end * per_step) if first < end else Span(0, 0)
    for o in range(length):
        if clean.start <= o < clean.stop:
            continue
        read = sized(net, output, axis, Spans.span(o, o + 1)).reads.get(found.input)
        hull = None if read is None else read.hull
        place = (Fraction(o + 1) * found.scale).__ceil__()
        if hull is not None and hull.stop > place:
            return o, hull.stop - 1, place - 1
    return None


@claim("causal", 'true, or a list of axes such as ["L"]; without the key nothing is claimed')
def causal(key: str, value: Any) -> Claim:
    if value is True:
        return Causal(key, "true", ())
    if not isinstance(value, list) or not value or not all(axis in AXES for axis in value):
        raise WrongValue
    return Causal(key, ", ".join(value), tuple(dict.fromkeys(value)))
