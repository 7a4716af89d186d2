"""`causal`: no output reads what comes after it along its axes, or in raster order, not even at the borders.

`max-lookahead`: or at most so many samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ...ops.layout import AXES
from ..judgement import Failure, Judgement
from .claim import Claim, Subject, WrongValue, claim, in_the_way
from .cones import RASTER, Raster
from .limits import PerAxis, in_words, per_axis, whole

if TYPE_CHECKING:
    from ...analysis.pair import Pair


@dataclass(frozen=True)
class Causal(Claim):
    """axes: those it is claimed for; all where there are none."""

    axes: tuple[str, ...]

    def judge(self, subject: Subject) -> Judgement:
        from ..ahead import looking_ahead

        wanted = self.axes or subject.analysis.axes
        for axis in wanted:
            if axis not in subject.analysis.axes:
                known = ", ".join(subject.analysis.axes)
                raise InputError(f"{self.key} names the axis {axis}; this model is analysed along {known}")
        failures: list[Failure] = []
        for pair, axis in subject.places():
            if axis in wanted:
                failures += _in_the_way(subject, pair, axis) or looking_ahead(subject, pair, axis)
        return Judgement(self.key, self.limit, "no" if failures else f"yes, along {', '.join(wanted)}", tuple(failures))


def _in_the_way(subject: Subject, pair: Pair, axis: str) -> tuple[Failure, ...]:
    """The obstacles that may read ahead. What only carries a state on reads nothing ahead: then how far is known."""
    return () if pair.one_sided(axis) is not None else in_the_way(subject, pair, axis)


@claim("causal", 'true, a list of axes such as ["L"], or "raster"; without the key nothing is claimed')
def causal(key: str, value: Any) -> Claim:
    if value is True:
        return Causal(key, "true", ())
    if value == RASTER:
        return Raster(key, RASTER)
    if not isinstance(value, list) or not value or not all(axis in AXES for axis in value):
        raise WrongValue
    return Causal(key, ", ".join(value), tuple(dict.fromkeys(value)))


@dataclass(frozen=True)
class MaxLookahead(Claim):
    limits: PerAxis[int]

    def judge(self, subject: Subject) -> Judgement:
        from ..ahead import looking_ahead

        failures: list[Failure] = []
        values: list[str] = []
        for pair, axis, most in self.limits.places(self.key, subject):
            blocked = list(_in_the_way(subject, pair, axis))
            failures += blocked or looking_ahead(subject, pair, axis, most)
            if not blocked and pair[axis].look_ahead is not None:
                values.append(f"{subject.where(pair, axis)} {pair[axis].look_ahead}")
        return Judgement(self.key, self.limit, "; ".join(values) or "none", tuple(failures))


@claim("max-lookahead", "a whole number of samples for every axis, or a table such as {L = 480}")
def max_lookahead(key: str, value: Any) -> Claim:
    return MaxLookahead(key, in_words(value), per_axis(value, partial(whole, least=0)))
