"""`max-macs-ratio`, `max-memory`: what blocks of an image cost at most."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ...amount import bytes_of, bytes_text
from ...analyze import analyze
from ...errors import InputError
from ...image import shapes_for_image
from ...plan import Plan
from ...planning import plan
from ..judgement import Failure, Judgement
from .claim import Claim, Subject, WrongValue, claim, in_the_way


class Cost(Claim):
    """A figure of the plan for the configured image, blocks and schedule."""

    def judge(self, subject: Subject) -> Judgement:
        blocked = [failure for place in subject.places() for failure in in_the_way(subject, *place)]
        if blocked:
            return Judgement(self.key, self.limit, "no plan", tuple(blocked))
        return self.of(_planned(subject))

    @abstractmethod
    def of(self, made: Plan) -> Judgement: ...


def _planned(subject: Subject) -> Plan:
    setting, found = subject.setting, subject.analysis
    if setting.image is not None:
        shapes = shapes_for_image(found, setting.image)
        if shapes != tuple(found.inputs.values()):
            found = analyze(subject.model, shapes, axes=found.axes, layout=subject.layout)
    return plan(found, block=setting.block, schedule=setting.schedule)


def _blocks(made: Plan) -> str:
    sizes = " x ".join(f"{strip.block} along {axis}" for axis, strip in made.strips.items())
    return f"{made.count} block{'s' if made.count > 1 else ''} of {sizes}, schedule {made.schedule}"


@dataclass(frozen=True)
class MaxMacsRatio(Cost):
    most: Fraction

    def of(self, made: Plan) -> Judgement:
        full = made.full.macs
        ratio = Fraction(made.work.macs, full) if full else Fraction(1)  # a net without any computes none twice
        value = f"{float(ratio):.4g} in {_blocks(made)}"
        failures = () if ratio <= self.most else (Failure("", value, help="larger blocks, which overlap less"),)
        return Judgement(self.key, self.limit, value, failures)


@dataclass(frozen=True)
class MaxMemory(Cost):
    most: int

    def of(self, made: Plan) -> Judgement:
        if made.memory is None:
            raise InputError("the memory of these blocks cannot be predicted")
        total = made.memory.total
        value = f"{bytes_text(total)} ({total} bytes, weights included) in {_blocks(made)}"
        failures = () if total <= self.most else (Failure("", value, help="smaller blocks, which hold less"),)
        return Judgement(self.key, self.limit, value, failures)


@claim(
    "max-macs-ratio", "a number of at least 1: multiply-accumulates of all blocks over those of the whole", costs=True
)
def max_macs_ratio(key: str, value: Any) -> Claim:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value < float("inf"):
        raise WrongValue
    return MaxMacsRatio(key, str(value), Fraction(str(value)))


@claim("max-memory", 'an amount such as "2GiB", or a number of bytes', costs=True)
def max_memory(key: str, value: Any) -> Claim:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise WrongValue
    try:
        return MaxMemory(key, str(value), bytes_of(value))
    except InputError as error:
        raise WrongValue from error
