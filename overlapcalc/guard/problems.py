"""Everything that is wrong, as a flat list: for annotations, SARIF and the like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .judgement import Failure, Judgement, merged
from .result import Check, Checked

LOCK, NOT_ANALYSED = "lock", "not-analysed"


@dataclass(frozen=True)
class Problem:
    """rule: a claim's key, "lock" or "not-analysed". message: where, what, the value and the layer to blame. file: with
    forward slashes, relative to the repository if it lies in it."""

    model: str
    rule: str
    message: str
    file: str
    line: int

    @property
    def title(self) -> str:
        return f"{self.model}: {self.rule}"


def problems(check: Check) -> list[Problem]:
    """In the order of the configuration; for each model first why it cannot be analysed, then claims, then the lock."""
    found = [problem for model in check.models for problem in _of_model(check, model)]
    for name in check.gone:
        found.append(Problem(name, LOCK, left_over(check, name), place(check, check.config), 1))
    return found


def left_over(check: Check, name: str) -> str:
    """The text about a model that is only in the lock."""
    known = f"{name} is in {check.lock.name} and no longer configured in {check.config.name}"
    return f"{known}; `overlapcalc lock` drops it"


def _of_model(check: Check, model: Checked) -> Iterator[Problem]:
    file, line = place(check, model.file), model.line
    if model.error:
        yield Problem(model.name, NOT_ANALYSED, f"{model.name} cannot be analysed: {model.error}", file, line)
    for judgement in model.judgements:
        if judgement.error:
            message = f"{judgement.claim} of {model.name} cannot be judged: {judgement.error}"
            yield Problem(model.name, NOT_ANALYSED, message, file, line)
        for failure in merged(judgement.failures):
            message = failed(model, judgement, failure)
            yield Problem(model.name, judgement.claim, message, *blamed(check, failure.source, file, line))
    if model.changed:
        yield Problem(model.name, LOCK, against_lock(check, model), file, line)


def failed(model: Checked, judgement: Judgement, failure: Failure) -> str:
    """The claim, the value, the layer to blame, the path, and what changed since the lock was written."""
    parts = [f"{judgement.claim} = {judgement.limit} does not hold for {model.name}: {failure}"]
    if failure.path:
        parts.append(f"path: {', '.join(failure.path)}")
    if model.comparison is not None and not model.comparison.same:
        parts.append(f"since the lock: {model.comparison}")
    return "; ".join(parts)


def against_lock(check: Check, model: Checked) -> str:
    """What changed, in words."""
    if model.unlocked:
        return f"{model.name} is not in {check.lock.name}; `overlapcalc check --update` adds it"
    return f"{model.name} needs something else than {check.lock.name} says: {model.comparison}"


def blamed(check: Check, source: str, file: str, line: int) -> tuple[str, int]:
    """The line of a layer, if it lies in the repository; else that of the model."""
    where, _, number = source.rpartition(":")
    if not where or not number.isdecimal() or not Path(where).is_relative_to(check.repository):
        return file, line
    return place(check, where), int(number)


def place(check: Check, file: str | Path) -> str:
    path = Path(file)
    return (path.relative_to(check.repository) if path.is_relative_to(check.repository) else path).as_posix()
