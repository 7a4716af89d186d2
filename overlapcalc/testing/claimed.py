"""Arguments of an assertion -> the claims that `overlapcalc check` judges; their judgements -> the message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from ..analysis.analysis import Analysis
from ..analysis.analyze import Inputs, analyze
from ..errors import InputError
from ..guard.claims import KINDS, Claim, Setting, Subject, WrongValue
from ..guard.claims.limits import SIDES
from ..guard.judgement import Failure, Judgement
from ..planning.options import Blocking
from ..report.explain import side_as_text
from .messages import called

Sided = int | tuple[int, int] | Mapping[str, int]
SidedLimit = Sided | Mapping[str, Sided]
"""16, (16, 8) before and after, {"before": 16}, or one of these per axis: {"W": (16, 8)}."""
Limit = int | Mapping[str, int]
Ratio = int | str | Fraction
ScaleLimit = Ratio | Mapping[str, Ratio]

SIDED = 'a whole number, (before, after), {"before": 16}, or one of these per axis as in {"W": (16, 8)}'
ALLOWED = {
    "max-context": SIDED,
    "max-tile": SIDED,
    "max-receptive-field": 'a whole number of at least 0, or one per axis as in {"W": 61}',
    "max-lookahead": 'a whole number of at least 0, or one per axis as in {"L": 480}',
    "step": 'a whole number of at least 1, or one per axis as in {"W": 8}',
    "scale": 'a whole number, a Fraction or a text such as "1/16", more than 0, or one per axis as in {"W": "1/16"}',
    "causal": 'True, False, a list of axes such as ["L"], or "raster"',
}
"""What is allowed, where Python spells it differently from a configuration."""
AS_ABOVE = "As above."


def claims_of(**given: Any) -> list[Claim]:
    """`blocking-free`, and what the arguments claim. Raises InputError."""
    return [KINDS["blocking-free"].read("blocking-free", True), *read_claims(**given)]


def read_claims(**given: Any) -> list[Claim]:
    """What the arguments claim; None claims nothing. Raises InputError."""
    found = []
    for argument, value in given.items():
        if value is None:
            continue
        key, shown = argument.replace("_", "-"), f"{argument}={value!r}"
        try:
            claim = KINDS[key].read(shown, _as_configured(value))
            if claim.timed:  # an assertion has no rate
                raise WrongValue
            found.append(claim)
        except WrongValue as error:
            raise InputError(f"{shown} is not allowed; expected {ALLOWED.get(key, KINDS[key].allowed)}") from error
    return found


def _as_configured(value: Any) -> Any:
    """As a configuration spells it: (16, 8) as a table of sides, fractions as text. Raises WrongValue."""
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise WrongValue
        return {name: _as_configured(part) for name, part in value.items()}
    if isinstance(value, tuple) and len(value) == 2:
        return dict(zip(SIDES, value, strict=True))
    return str(value) if isinstance(value, Fraction) else value


class SizeVerified(Claim):
    """Only assertions claim this: a check makes a note of it."""

    def judge(self, subject: Subject) -> Judgement:
        if subject.analysis.size_verified:
            return Judgement(self.key, self.limit, "yes")
        text = "the net runs at no other size that was tried, so what it needs there is not known"
        help = "a shape beside which it runs at larger ones, or size_verified=False to claim for this one alone"
        return Judgement(self.key, self.limit, "no", (Failure("", text, help=help),))


def assert_claims(
    claims: Iterable[Claim],
    model: Any,
    shape: Inputs,
    blocking: Blocking,
    axes: Sequence[str] | str | None,
    layout: str | Sequence[str | None] | None,
) -> Analysis:
    """The analysis of a net of which all claims hold. Raises AssertionError with those that do not."""
    __tracebackhide__ = True
    analysis = analyze(model, shape, axes=axes, layout=layout)
    subject = Subject(model, analysis, Setting(blocking=blocking))
    text = broken(claims, subject, f"{called(model, analysis)}: what was claimed does not hold.")
    if text:
        raise AssertionError(text)
    return analysis


def broken(claims: Iterable[Claim], subject: Subject, title: str) -> str:
    """The title and everything that does not hold, the same text only once; "" where everything holds."""
    parts, said = [title], set[str]()
    for judgement in (claim.judge(subject) for claim in claims):
        alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for failure in judgement.failures:
            alike.setdefault((failure.value, _why(subject, failure)), []).append(failure.where)
        whys: dict[str, list[str]] = {}
        for (value, why), places in alike.items():
            where = " and ".join(filter(None, places))
            head = f"{where}: {judgement.claim}" if where else judgement.claim
            whys.setdefault(f"{head} does not hold: {value}", []).extend(AS_ABOVE if w in said else w for w in why)
            said.update(why)
        for head, texts in whys.items():
            lines = [line for text in dict.fromkeys(texts) for line in text.splitlines()]
            parts.append("\n".join([head, *(f"    {line}" for line in lines)]))
    return "\n\n".join(parts) if len(parts) > 1 else ""


def _why(subject: Subject, failure: Failure) -> tuple[str, ...]:
    """The layers on the path with what each adds; which one is to blame, and what would help."""
    places = {subject.where(pair, axis, side): (pair, axis, side) for pair, axis in subject.places() for side in SIDES}
    way = f"path: {', '.join(failure.path)}" if failure.path else ""
    if failure.where in places:
        pair, axis, side = places[failure.where]
        way = side_as_text(pair.explain(axis), side)
    help = failure.help or (f"a change of `{failure.layer}`, or of the claim" if failure.layer else "")
    lines = (failure.blame, failure.source and f"at {failure.source}", help and f"What would help: {help}")
    return tuple(filter(None, (way, "\n".join(filter(None, lines)))))
