"""`verify`: blocks give what the whole gives, proved by running both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ...errors import InputError
from ..judgement import Failure, Judgement
from .claim import Claim, Subject, WrongValue, claim, in_the_way

DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Proved(Claim):
    device: str

    def judge(self, subject: Subject) -> Judgement:
        from torch import nn  # all of these load it

        from ...prove.device import device_of
        from ...prove.proof_image import proof_block, proof_shapes
        from ...prove.result import PROVED, REFUTED
        from ...prove.verify import verify

        passes = subject.setting.blocking.schedule == "passes"
        blocked = [failure for place in subject.places() for failure in in_the_way(subject, *place)]
        if blocked and not passes:
            if all(found.how == "passes" for found in subject.analysis.runs.values()):
                instead = 'set schedule = "passes", which proves the passes that run it instead'
                blocked = [replace(failure, help=f"{failure.help}; or {instead}") for failure in blocked]
            return Judgement(self.key, self.limit, "nothing to prove", tuple(blocked))
        if not isinstance(subject.model, nn.Module):
            raise InputError("a saved program is not run by blocks; guard the module it was made of")
        device_of(self.device)
        found = subject.analysis
        if passes:  # at the size of `input`
            made = verify(subject.model, found, device=self.device, schedule="passes")
        else:
            there = found.at(*proof_shapes(found, proof_block(found)))
            made = verify(subject.model, there, device=self.device)
        failures = [
            Failure(proof.name, "refuted", why=failure)
            for proof in made.proofs
            if proof.status == REFUTED
            for failure in proof.failures
        ]
        if not made.proved and not failures:
            failures = [Failure("", "no proof applies", why="; ".join(f"{p.name}: {p.reason}" for p in made.proofs))]
        said = ", ".join(f"{proof.name} {proof.status}" for proof in made.proofs if proof.status != PROVED)
        count = sum(proof.status == PROVED for proof in made.proofs)
        value = f"{count} of {len(made.proofs)} proofs" + (f" ({said})" if said else "")
        value += ", schedule passes" if passes else ""
        if made.not_reached:
            value += f", but for branches that were not reached: {'; '.join(map(str, made.not_reached))}"
        return Judgement(self.key, self.limit, value, tuple(failures))


@claim("verify", '"cpu" or "cuda"')
def proved(key: str, value: Any) -> Claim:
    if value not in DEVICES:
        raise WrongValue
    return Proved(key, value, value)
