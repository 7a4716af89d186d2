"""What a verification found: proof by proof, with the figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..planning.plan import Plan

PROVED, REFUTED, NOT_APPLICABLE = "proved", "refuted", "not applicable"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Place:
    """Where an operator stands: path of the layer, name of the operator, source line "file:line"; "" where unknown."""

    layer: str
    op: str
    source: str

    def __str__(self) -> str:
        at = f" ({self.source})" if self.source else ""
        return f"{self.layer or 'net'}: {self.op}{at}"


@dataclass(frozen=True)
class NotReached(Place):
    """An operator that compares, clamps, rounds or looks up, and what came out of it for no sample of any run.

    missing: "true" of a comparison that was false everywhere, say.
    """

    missing: str

    def __str__(self) -> str:
        return f"{super().__str__()} never came out as {self.missing}"


@dataclass(frozen=True)
class Proof:
    """One proof. status: "proved", "refuted" or "not applicable". checks: how many comparisons it stands on.

    reason: why it is not applicable, or what its checks were. failures: what refutes it, one sentence each.
    caveat: of what is proved, what it leaves open: branches that no sample entered.
    """

    name: str
    status: str
    reason: str
    checks: int = 0
    failures: tuple[str, ...] = ()
    caveat: str = ""

    @staticmethod
    def of(name: str, reason: str, checks: int, failures: list[str]) -> Proof:
        """Proved or refuted, by its failures; not applicable where there was nothing to check."""
        if not checks:
            return Proof(name, NOT_APPLICABLE, reason)
        return Proof(name, REFUTED if failures else PROVED, reason, checks, tuple(failures))

    def with_caveat(self, not_reached: Sequence[NotReached]) -> Proof:
        """What is proved, but for these branches."""
        if self.status != PROVED or not not_reached:
            return self
        count = "one branch" if len(not_reached) == 1 else f"{len(not_reached)} branches"
        return replace(self, caveat=f"but for {count} that no sample entered")

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "failures": list(self.failures)}


@dataclass(frozen=True)
class Figures:
    """Blocks against the whole, in one floating type. error: max |difference| / max |whole|, the worst output. ulps:
    the largest difference in units in the last place. identical: share of bit-identical samples. Bytes held at
    the fullest moment (on CUDA by its allocator, elsewhere by the tensors alive) and seconds, of the whole run and of
    all blocks."""

    dtype: str
    error: float
    ulps: float
    identical: float
    full_bytes: int
    blocks_bytes: int
    full_seconds: float
    blocks_seconds: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Verification:
    """All proofs of one net at one size, one block size and one schedule, on one device.

    not_reached: branches that none of the proofs' samples entered; what is proved holds for the others.
    """

    proofs: tuple[Proof, ...]
    figures: tuple[Figures, ...]
    plan: Plan
    device: str
    torch: str
    not_reached: tuple[NotReached, ...] = ()

    @property
    def proved(self) -> bool:
        """Everything that applies is proved, and something applies; but see `not_reached`."""
        statuses = [proof.status for proof in self.proofs]
        return REFUTED not in statuses and PROVED in statuses

    def __getitem__(self, name: str) -> Proof:
        return next(proof for proof in self.proofs if proof.name == name)

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "proved": self.proved,
            "device": self.device,
            "torch": self.torch,
            "proofs": [proof.to_dict() for proof in self.proofs],
            "not_reached": [asdict(place) for place in self.not_reached],
            "figures": [figures.to_dict() for figures in self.figures],
            "plan": self.plan.to_dict(),
        }
