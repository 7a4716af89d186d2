"""`max-macs-ratio`, `max-memory`, `max-disk`: the most that blocks, or passes, of an image may cost."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ...errors import InputError, ObstacleError
from ...planning.byte_size import bytes_of, bytes_text
from ...planning.options import PASSES
from ..judgement import Failure, Judgement
from .claim import Claim, Subject, WrongValue, claim, in_the_way

if TYPE_CHECKING:
    from ...planning.breakdown import Spent
    from ...planning.passes.plan import PassesPlan
    from ...planning.plan import Plan


class Cost(Claim):
    """A figure of the plan for the configured image, blocks and schedule."""

    def judge(self, subject: Subject) -> Judgement:
        blocked = [failure for place in subject.places() for failure in in_the_way(subject, *place)]
        by_passes = subject.setting.blocking.named_schedule in (None, PASSES)
        try:
            if not blocked or by_passes:
                return self.of(subject, subject.plan)
        except ObstacleError:
            if not blocked:
                raise
        return Judgement(self.key, self.limit, "no plan", tuple(blocked))

    @abstractmethod
    def of(self, subject: Subject, made: Plan) -> Judgement: ...


def _blocks(made: Plan) -> str:
    sizes = " x ".join(f"{strip.block} along {axis}" for axis, strip in made.strips.items())
    if made.passes is not None:
        count = len(made.passes.each)
        return f"{count} pass{'es' if count > 1 else ''} in bands of {sizes}"
    return f"{made.count} block{'s' if made.count > 1 else ''} of {sizes}, schedule {made.schedule}"


@dataclass(frozen=True)
class MaxMacsRatio(Cost):
    most: Fraction

    def of(self, subject: Subject, made: Plan) -> Judgement:
        full = made.full.macs
        ratio = Fraction(made.work.macs, full) if full else Fraction(1)  # a net without any computes nothing twice
        value = f"{float(ratio):.4g} in {_blocks(made)}"
        failures = () if ratio <= self.most else (_too_much_work(subject, made, value),)
        return Judgement(self.key, self.limit, value, failures)


def _too_much_work(subject: Subject, made: Plan, value: str) -> Failure:
    from ...planning.breakdown import spent
    from ...planning.obstacles import variants_for

    if made.passes is not None:
        return Failure("", value, help="a larger `disk`, so that passes store what they compute twice, or longer bands")
    layers = [one for one in spent(variants_for(subject.at_image, made.schedule).net, made) if one.beyond > 0]
    beyond, worst = sum(one.beyond for one in layers), layers[0]
    why = (
        f"computes {_percent(worst.beyond, beyond)} of what is computed beyond the whole, {_times(worst)} its own share"
    )
    path = tuple(f"{one.layer} ({_percent(one.beyond, beyond)}, {_times(one)})" for one in layers)
    help = "larger blocks, which overlap less" + (
        "" if made.schedule != "crop" else ', or the schedule "trim" or "stream"'
    )
    return Failure("", value, worst.layer, why, subject.source(worst.layer), path, help)


def _times(one: Spent) -> str:
    return f"x{one.blocks / one.whole:.3g}" if one.whole else "all"


def _percent(part: int, total: int) -> str:
    return f"{part / total:.0%}"


@dataclass(frozen=True)
class MaxMemory(Cost):
    most: int

    def of(self, subject: Subject, made: Plan) -> Judgement:
        if made.memory is None:
            raise InputError("the memory of these blocks cannot be predicted")
        total = made.memory.total
        value = f"{bytes_text(total)} ({total} bytes, weights included) in {_blocks(made)}"
        failures = () if total <= self.most else (self._too_much_held(subject, made, value),)
        return Judgement(self.key, self.limit, value, failures)

    def _too_much_held(self, subject: Subject, made: Plan, value: str) -> Failure:
        from ...planning.breakdown import fullest
        from ...planning.obstacles import variants_for

        assert made.memory is not None
        if made.passes is not None:
            return _fullest_pass(made, made.passes, value)
        output = subject.at_image.variants.run_memory(tuple(made.inputs.values()), made.dtype).outputs
        help = "smaller blocks, which hold less"
        if made.memory.weights + output >= self.most:
            alone = bytes_text(made.memory.weights + output)
            help = f"fewer weights or a smaller image: weights and the output of the whole image alone take {alone}"
        moment = fullest(variants_for(subject.at_image, made.schedule).net, made)
        if moment is None:
            return Failure("", value, help=help)
        layer, samples = moment.held[0]
        why = (
            f"holds {_percent(samples, moment.samples)} of the samples of a block when these are the most, which is "
            f"while `{moment.layer}` runs"
        )
        path = tuple(f"{name} ({_percent(n, moment.samples)})" for name, n in moment.held)
        return Failure("", value, layer, why, subject.source(layer), path, help)


def _fullest_pass(made: Plan, passes: PassesPlan, value: str) -> Failure:
    worst = max(passes.each, key=lambda one: one.memory or 0)
    whole = tuple(f"{one.layer} ({bytes_text(one.nbytes)}, as a whole)" for one in passes.stored if one.whole)
    why = f"pass {worst.number + 1} of {len(passes.each)} holds {bytes_text(worst.memory or 0)} beside the weights"
    return Failure("", value, why=why, path=whole, help="shorter bands, which hold less")


@dataclass(frozen=True)
class MaxDisk(Cost):
    most: int

    def of(self, subject: Subject, made: Plan) -> Judgement:
        disk = 0 if made.passes is None else made.passes.disk
        value = f"{bytes_text(disk)} ({disk} bytes) in {_blocks(made)}"
        if made.passes is None or disk <= self.most:
            return Judgement(self.key, self.limit, value)
        stored = sorted((one for one in made.passes.stored if not one.kept), key=lambda one: -one.nbytes)
        path = tuple(f"{one.layer} ({bytes_text(one.nbytes)})" for one in stored)
        why = f"the largest of {len(stored)} tensors that passes store for later ones"
        failure = Failure("", value, stored[0].layer, why, subject.source(stored[0].layer), path, "a smaller image")
        return Judgement(self.key, self.limit, value, (failure,))


@claim(
    "max-macs-ratio", "a number of at least 1: multiply-accumulates of all blocks over those of the whole", costs=True
)
def max_macs_ratio(key: str, value: Any) -> Claim:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value < float("inf"):
        raise WrongValue
    return MaxMacsRatio(key, str(value), Fraction(str(value)))


AN_AMOUNT = 'an amount such as "2GiB", or a number of bytes'


@claim("max-memory", AN_AMOUNT, costs=True)
def max_memory(key: str, value: Any) -> Claim:
    return MaxMemory(key, str(value), _amount(value))


@claim("max-disk", AN_AMOUNT, costs=True)
def max_disk(key: str, value: Any) -> Claim:
    return MaxDisk(key, str(value), _amount(value, least=0))


def _amount(value: Any, *, least: int = 1) -> int:
    """Bytes. Raises WrongValue."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise WrongValue
    try:
        return bytes_of(value, least=least)
    except InputError as error:
        raise WrongValue from error
