"""`step`, `scale`: the grid is this one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ...analysis import Pair
from ..judgement import Failure, Judgement
from .claim import Claim, Subject, WrongValue, claim, in_the_way
from .limits import PerAxis, in_words, per_axis, whole


@dataclass(frozen=True)
class OnGrid(Claim):
    """figure: "step" or "scale"; it must be this, and no other."""

    figure: str
    values: PerAxis[Fraction]

    def judge(self, subject: Subject) -> Judgement:
        self.values.check(self.key, subject)
        failures: list[Failure] = []
        found: list[str] = []
        for pair, axis in subject.places():
            wanted = self.values.of(axis)
            if wanted is None:
                continue
            if pair.obstacles(axis):
                failures += in_the_way(subject, pair, axis)
                continue
            value = getattr(pair[axis], self.figure)
            found.append(f"{subject.where(pair, axis)} {value}")
            if value is None or value != wanted:
                failures.append(self._failure(subject, pair, axis, value))
        return Judgement(self.key, self.limit, "; ".join(found) or "none", tuple(failures))

    def _failure(self, subject: Subject, pair: Pair, axis: str, value: Fraction | int | None) -> Failure:
        where = subject.where(pair, axis)
        if value is None:
            return Failure(where, "none", why="nothing connects the two")
        reasons = [r for r in pair.explain(axis).step_reasons if r.layer]
        if not reasons:
            return Failure(where, str(value))
        first = max(reasons, key=lambda r: r.multiple)
        why = f"asks for {first.outputs} of its samples, {first.multiple} of the input, at a time"
        return Failure(where, str(value), first.layer, why, first.source, tuple(r.layer for r in reasons))


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
