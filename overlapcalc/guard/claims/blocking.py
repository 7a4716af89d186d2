"""`blocking-free`: no obstacle between any output and any input."""

from __future__ import annotations

from typing import Any

from ..judgement import Failure, Judgement
from .claim import Claim, Subject, WrongValue, claim, obstructed


class BlockingFree(Claim):
    def judge(self, subject: Subject) -> Judgement:
        along = ", ".join(subject.analysis.axes)
        failures: dict[tuple[str, str, str], Failure] = {}
        for pair, axis in subject.places():
            for blame in pair.explain(axis).obstacles if pair.obstacles(axis) else ():
                o = blame.obstacle  # once per axis, however many pairs it stands between
                failures.setdefault((o.layer, o.op, axis), obstructed(o, axis, blame.way))
        if not subject.analysis.outputs or (not failures and not subject.analysis.blocking_free):
            return Judgement(self.key, self.limit, "no", (Failure("", "no output can be computed by blocks"),))
        return Judgement(self.key, self.limit, "no" if failures else f"yes, along {along}", tuple(failures.values()))


@claim("blocking-free", "true; without the key nothing is claimed")
def blocking_free(key: str, value: Any) -> Claim:
    if value is not True:
        raise WrongValue
    return BlockingFree(key, "true")
