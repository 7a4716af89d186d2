"""`max-context`, `max-tile`, `max-receptive-field`: at most this many samples."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any

from ..judgement import Failure, Judgement
from .claim import Claim, Subject, adding, claim, in_the_way, steps_of
from .limits import SIDES, PerAxis, SideLimits, in_words, per_axis, side_limits, whole

if TYPE_CHECKING:
    from ...analysis.axis import AxisAnalysis
    from ...analysis.explain import SideExplanation
    from ...analysis.pair import Pair

A_NUMBER_OR_SIDES = (
    "a whole number for every side and axis, or a table such as {before = 32, after = 16}, {W = 32} or "
    "{W = {before = 32, after = 16}}"
)


@dataclass(frozen=True)
class MaxSides(Claim):
    """figure: "context" or "tile"."""

    figure: str
    limits: PerAxis[SideLimits]

    def judge(self, subject: Subject) -> Judgement:
        failures: list[Failure] = []
        values: list[str] = []
        for pair, axis, limits in self.limits.places(self.key, subject):
            if pair.obstacles(axis):
                failures += in_the_way(subject, pair, axis)
                continue
            found = pair[axis]
            sides = found.context if self.figure == "context" else found.tile
            values.append(f"{subject.where(pair, axis)} " + ("nothing" if sides is None else in_words(_plain(sides))))
            for side in SIDES if sides is not None else ():
                value, most = getattr(sides, side), getattr(limits, side)
                if most is not None and value > most:
                    failures.append(self._failure(subject, pair, found, side, value))
        return Judgement(self.key, self.limit, "; ".join(values) or "none", tuple(failures))

    def _failure(self, subject: Subject, pair: Pair, found: AxisAnalysis, side: str, value: int) -> Failure:
        explained = pair.explain(found.axis)
        where = subject.where(pair, found.axis, side)
        bound = self.figure == "context" and not getattr(found, f"exact_{side}")
        said = f"{value}{' (an upper bound)' if bound else ''}"
        way: SideExplanation | None = getattr(explained, side)
        layers = adding(way.contributions) if way is not None else []
        worst = max(layers, key=lambda c: c.adds, default=None)
        holding = next((r for r in explained.tile_reasons if r.side == side), None)
        must = "" if holding is None else f"`{holding.layer}` must hold {holding.needs} beyond the block's own place"
        if must and found.step > 1:
            must += f", in whole steps of {found.step}"
        if worst is None or worst.adds <= 0:
            layer = holding.layer if holding is not None and self.figure == "tile" else ""
            return Failure(where, said, layer, must if layer else "", subject.source(layer))
        assert way is not None
        why = f"adds {worst.adds} of the context of {way.total}"
        if self.figure == "tile" and must:
            why += f"; {must}"
        return Failure(where, said, worst.layer, why, worst.source, steps_of(layers))


def _plain(sides: Any) -> dict[str, int]:
    return {"before": sides.before, "after": sides.after}


@claim("max-context", A_NUMBER_OR_SIDES)
def max_context(key: str, value: Any) -> Claim:
    return MaxSides(key, in_words(value), "context", per_axis(value, side_limits))


@claim("max-tile", A_NUMBER_OR_SIDES)
def max_tile(key: str, value: Any) -> Claim:
    return MaxSides(key, in_words(value), "tile", per_axis(value, side_limits))


@dataclass(frozen=True)
class MaxReceptiveField(Claim):
    limits: PerAxis[int]

    def judge(self, subject: Subject) -> Judgement:
        failures: list[Failure] = []
        values: list[str] = []
        for pair, axis, most in self.limits.places(self.key, subject):
            if pair.obstacles(axis):
                failures += in_the_way(subject, pair, axis)
                continue
            largest = pair[axis].receptive_field[1]
            values.append(f"{subject.where(pair, axis)} {largest}")
            if largest > most:
                failures.append(_too_wide(subject, pair, axis, largest))
        return Judgement(self.key, self.limit, "; ".join(values) or "none", tuple(failures))


def _too_wide(subject: Subject, pair: Pair, axis: str, value: int) -> Failure:
    explained = pair.explain(axis)
    layers = [c for side in (explained.before, explained.after) if side for c in adding(side.contributions)]
    total: dict[str, Fraction] = {}
    for c in layers:
        total[c.layer] = total.get(c.layer, Fraction(0)) + c.adds
    where = subject.where(pair, axis)
    said = f"{value}{'' if pair[axis].exact else ' (an upper bound)'}"
    if not total:
        return Failure(where, said)
    worst = max(total, key=lambda layer: total[layer])
    why = f"adds {total[worst]} to the context on both sides together"
    source = next(c.source for c in layers if c.layer == worst)
    path = tuple(f"{layer} (+{adds})" for layer, adds in total.items())
    return Failure(where, said, worst, why, source, path)


@claim(
    "max-receptive-field", "a whole number of samples for every axis, or a table such as {H = 61}; a field has no sides"
)
def max_receptive_field(key: str, value: Any) -> Claim:
    return MaxReceptiveField(key, in_words(value), per_axis(value, partial(whole, least=0)))
