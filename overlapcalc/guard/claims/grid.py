"""`step`, `scale`: the grid is this one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ..judgement import Failure, Judgement
from .claim import Claim, Subject, WrongValue, claim, in_the_way
from .limits import PerAxis, in_words, per_axis, whole

if TYPE_CHECKING:
    from ...analysis.pair import Pair


@dataclass(frozen=True)
class OnGrid(Claim):
    """figure: "step" or "scale"; it must have exactly this value."""

    figure: str
    values: PerAxis[Fraction]

    def judge(self, subject: Subject) -> Judgement:
        failures: list[Failure] = []
        found: list[str] = []
        for pair, axis, wanted in self.values.places(self.key, subject):
            if pair.obstacles(axis):
                failures += in_the_way(subject, pair, axis)
                continue
            value = getattr(pair[axis], self.figure)
            found.append(f"{subject.where(pair, axis)} {'none' if value is None else value}")
            if value is None:
                failures.append(Failure(subject.where(pair, axis), "none", why="nothing connects the two"))
            elif value != wanted:
                step = self.figure == "step"
                failures.append(_off_grid(subject, pair, axis) if step else _off_scale(subject, pair, axis, wanted))
        return Judgement(self.key, self.limit, "; ".join(found) or "none", tuple(failures))


def _off_grid(subject: Subject, pair: Pair, axis: str) -> Failure:
    where, value = subject.where(pair, axis), str(pair[axis].step)
    reasons = [r for r in pair.explain(axis).step_reasons if r.layer]
    if not reasons:
        return Failure(where, value)
    first = max(reasons, key=lambda r: r.multiple)
    why = f"asks for {first.outputs} of its samples, {first.multiple} of the input, at a time"
    return Failure(where, value, first.layer, why, first.source, tuple(r.layer for r in reasons))


def _off_scale(subject: Subject, pair: Pair, axis: str, wanted: Fraction) -> Failure:
    """Names a layer without which the scale would be as claimed, else the one that changes it the most."""
    found = pair[axis].scale
    assert found is not None
    where, changes = subject.where(pair, axis), _rescaling(subject, pair, axis)
    if not changes:
        return Failure(where, str(found), why="no layer on the way changes it")
    alone = [layer for layer, factor in changes.items() if factor * wanted == found]
    worst = alone[0] if alone else max(changes, key=lambda layer: max(changes[layer], 1 / changes[layer]))
    path = tuple(f"{layer} (x{factor})" for layer, factor in changes.items())
    why = f"multiplies it by {changes[worst]}"
    return Failure(where, str(found), worst, why, subject.source(worst), path)


def _rescaling(subject: Subject, pair: Pair, axis: str) -> dict[str, Fraction]:
    """The layers on the way that change the scale, from the output back to the input, and by how much."""
    rows = {
        row.name: row.against[pair.input][axis]
        for row in subject.analysis.layers
        if axis in row.against.get(pair.input, ())
    }
    explained = pair.explain(axis)
    way = explained.before or explained.after
    changes, scale = dict[str, Fraction](), Fraction(1)
    for c in reversed(way.contributions if way is not None else ()):
        now = rows[c.layer].scale if c.layer in rows else None
        if now is not None and now != scale:
            changes[c.layer], scale = now / scale, now
    return dict(reversed(changes.items()))


@claim("step", "a whole number of samples of the input for every axis, at least 1, or a table such as {H = 8, W = 16}")
def step(key: str, value: Any) -> Claim:
    def one(value: Any) -> Fraction:
        return Fraction(whole(value, least=1))

    return OnGrid(key, in_words(value), "step", per_axis(value, one))


@claim(
    "scale",
    'input samples per output sample for every axis: a whole number or a text such as "1/16" (no decimal fraction), '
    'or a table such as {W = "1/16"}',
)
def scale(key: str, value: Any) -> Claim:
    return OnGrid(key, in_words(value), "scale", per_axis(value, _fraction))


def _fraction(value: Any) -> Fraction:
    if not isinstance(value, str):
        return Fraction(whole(value, least=1))
    if re.fullmatch(r"[1-9][0-9]*(/[1-9][0-9]*)?", value) is None:
        raise WrongValue
    return Fraction(value)
