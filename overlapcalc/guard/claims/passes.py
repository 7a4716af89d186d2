"""`runs`, `max-passes`: what runs a net exactly, be it local or not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ..judgement import Failure, Judgement
from .claim import Claim, Subject, WrongValue, claim
from .limits import PerAxis, in_words, per_axis, whole

if TYPE_CHECKING:
    from ...analysis.runs import Runs

TILES, REGIONS, PASSES, NOTHING = "tiles", "regions", "passes", "nothing"
HOW = (TILES, REGIONS, PASSES, NOTHING)
"""From the best to the worst."""


@dataclass(frozen=True)
class RunBy(Claim):
    """What runs it along each axis is exactly this: a net that has become better wants another claim, too."""

    wanted: PerAxis[str]

    def judge(self, subject: Subject) -> Judgement:
        self.wanted.check(self.key, subject)
        failures: list[Failure] = []
        values: list[str] = []
        for axis, found in subject.analysis.runs.items():
            wanted = self.wanted.of(axis)
            if wanted is not None:
                values.append(f"{axis} {_said(found)}")
                if found.how != wanted:
                    failures.append(_another(subject, found, wanted))
        return Judgement(self.key, self.limit, "; ".join(values), tuple(failures))


def _another(subject: Subject, found: Runs, wanted: str) -> Failure:
    """The operator that is in the way of what was claimed, or that there is none any more."""
    if HOW.index(found.how) < HOW.index(wanted):
        return Failure(found.axis, _said(found), why=found.why, help=f'it is better than claimed: claim "{found.how}"')
    return Failure(found.axis, _said(found), *_to_blame(subject, found))


def _to_blame(subject: Subject, found: Runs) -> tuple[str, str, str, tuple[str, ...]]:
    """The first operator that is not local, what it is, its source, and all of them."""
    classes = [one for one in subject.analysis.classes if one.axis == found.axis]
    if not classes:
        return "", found.why, "", ()
    path = tuple(f"{one.layer} ({one.kind})" for one in classes)
    first = next((one for one in classes if one.kind == "impossible"), classes[0])
    why = found.why or f"{first.op.partition('::')[2]} is {_article(first.kind)}"
    return first.layer, why, subject.source(first.layer), path


def _article(kind: str) -> str:
    return f"a {kind}" if kind in ("reduction", "scan") else kind


def _said(found: Runs) -> str:
    if found.how != PASSES:
        return found.how
    return f"{found.passes} pass{'es' if found.passes > 1 else ''}"


@dataclass(frozen=True)
class MaxPasses(Claim):
    most: PerAxis[int]

    def judge(self, subject: Subject) -> Judgement:
        self.most.check(self.key, subject)
        failures: list[Failure] = []
        values: list[str] = []
        for axis, found in subject.analysis.runs.items():
            most = self.most.of(axis)
            if most is not None:
                count = NOTHING if found.how == NOTHING else str(found.passes)
                values.append(f"{axis} {count}")
                if found.how == NOTHING or found.passes > most:
                    failures.append(Failure(axis, count, *_to_blame(subject, found)))
        return Judgement(self.key, self.limit, "; ".join(values), tuple(failures))


def _how(value: Any) -> str:
    if value not in HOW:
        raise WrongValue
    return str(value)


@claim("runs", f"{', '.join(map(repr, HOW[:-1]))} or {NOTHING!r}, or a table such as {{H = 'tiles', W = 'passes'}}")
def run_by(key: str, value: Any) -> Claim:
    return RunBy(key, in_words(value), per_axis(value, _how))


@claim("max-passes", "a whole number of at least 1, or a table such as {H = 3}: passes over the image")
def max_passes(key: str, value: Any) -> Claim:
    return MaxPasses(key, in_words(value), per_axis(value, partial(whole, least=1)))
