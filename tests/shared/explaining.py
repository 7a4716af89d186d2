"""What must hold of any explanation: by its definition, and by brute force."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import overlapcalc as oc
from shared.oracle import Dependency


def check(w: oc.AxisAnalysis, e: oc.Explanation) -> None:
    """What must hold of any explanation, by the definition alone."""
    if w.context is None:
        assert (e.before, e.after) == (None, None)
        return
    for side, total, edge, base in (
        (e.before, w.context.before, 0, 0),
        (e.after, w.context.after, w.out_step - 1, w.step - 1),
    ):
        parts = side.contributions
        assert sum(c.adds for c in parts) == side.total == total
        assert abs(side.sample - base) == abs(total)
        assert parts[0].sample == edge
        assert 0 <= parts[0].reads < w.out_step
        assert parts[-1].operand == w.input
        assert parts[-1].reads == side.sample
        for c, d in pairwise(parts):  # a chain: what one reads, the next one is
            assert (c.operand, c.reads) == (d.layer, d.sample)
    for reason, total in zip(e.tile_reasons, w.tile or (), strict=True):
        assert reason.total == total
    needs = [r.multiple for r in e.step_reasons]
    assert joint(needs) == w.step
    for k in range(len(needs)):  # none of the layers named could be left out
        assert joint(needs[:k] + needs[k + 1 :]) < w.step


def joint(needs: list[Fraction]) -> int:
    """The smallest whole number of samples that is a multiple of each."""
    step = 1
    while any((step / n).denominator != 1 for n in needs):
        step += 1
    return step


def really_read(w: oc.AxisAnalysis, e: oc.Explanation, truth: Dependency) -> int:
    """The extreme sample is read by the output sample that the way starts at, no farther one is by any of the block."""
    checked = 0
    margin = w.receptive_field[1] + 12
    for u in range(truth.out_size // w.out_step):
        start, stop = u * w.out_step, (u + 1) * w.out_step
        first, last = u * w.step + e.before.sample, u * w.step + e.after.sample
        if first < margin or last > truth.size - margin:
            continue
        checked += 1
        assert truth.hull(start, stop) == (first, last + 1)
        one, other = (start + side.contributions[0].reads for side in (e.before, e.after))
        assert truth.hull(one, one + 1)[0] == first
        assert truth.hull(other, other + 1)[1] == last + 1
        if checked == 3:
            break
    return checked
