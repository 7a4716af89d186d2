"""`causal`: no output reads what comes after it along its axes, or in raster order, not even at the borders.

`max-lookahead`: or at most so many samples, or so much time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
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
class Time:
    seconds: Fraction

    def samples(self, rate: Fraction) -> int:
        """Whole samples that fit.

        >>> Time(Fraction(20, 1000)).samples(Fraction(44100)), Time(Fraction(1)).samples(Fraction("29.97"))
        (882, 29)
        """
        return int(self.seconds * rate)


@dataclass(frozen=True)
class MaxLookahead(Claim):
    limits: PerAxis[int | Time]

    @property
    def timed(self) -> bool:
        return any(isinstance(limit, Time) for limit in (self.limits.everywhere, *dict(self.limits.named).values()))

    def judge(self, subject: Subject) -> Judgement:
        from ..ahead import looking_ahead

        failures: list[Failure] = []
        values: list[str] = []
        for pair, axis, most in self._samples(subject):
            blocked = list(_in_the_way(subject, pair, axis))
            failures += blocked or looking_ahead(subject, pair, axis, most)
            if not blocked and pair[axis].look_ahead is not None:
                ahead, rate = pair[axis].look_ahead, subject.setting.rates.get(axis)
                time = "" if not ahead or rate is None else f" ({float(1000 * ahead / rate):.4g} ms)"
                values.append(f"{subject.where(pair, axis)} {ahead}{time}")
        return Judgement(self.key, self.limit, "; ".join(values) or "none", tuple(failures))

    def _samples(self, subject: Subject) -> Iterator[tuple[Pair, str, int]]:
        """What is claimed of each place, in samples. A time for all axes is one for those that have a rate. Raises
        InputError where a time has no rate."""
        rates = subject.setting.rates
        if isinstance(self.limits.everywhere, Time) and not set(rates) & set(subject.analysis.axes):
            raise InputError(
                f"{self.key}: a time needs a rate of an axis; this model is analysed along "
                f"{', '.join(subject.analysis.axes)}, and the rate is of {', '.join(rates) or 'none'}"
            )
        for pair, axis, most in self.limits.places(self.key, subject):
            if not isinstance(most, Time):
                yield pair, axis, most
            elif axis in rates:
                yield pair, axis, most.samples(rates[axis])
            elif self.limits.everywhere is None:
                raise InputError(f"{self.key}: a time along {axis} needs a rate, and there is none of it")


def _ahead(value: Any) -> int | Time:
    """A number of samples, or a time. Raises WrongValue."""
    if not isinstance(value, str):
        return whole(value, least=0)
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s)", value)
    if found is None:
        raise WrongValue
    return Time(Fraction(found[1]) / (1000 if found[2] == "ms" else 1))


@claim(
    "max-lookahead",
    'a whole number of samples for every axis, a time such as "20 ms", or a table such as {L = 480} or {L = "20 ms"}',
)
def max_lookahead(key: str, value: Any) -> Claim:
    return MaxLookahead(key, in_words(value), per_axis(value, _ahead))
