"""The result of a verification: proof by proof, with the figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..planning.plan import Plan

PROVED, REFUTED, NOT_APPLICABLE = "proved", "refuted", "not applicable"
SCHEMA_VERSION = 1
OF_BLOCKS = ("dependency", "minimality", "poisoned borders", "exact twin", "values")
"""The proofs of blocks, by name."""
OF_PASSES = ("cover", "dependency", "poisoned borders", "exact twin", "values")
"""The proofs of passes."""


@dataclass(frozen=True)
class OperatorPlace:
    """The place of an operator: path of the layer, name of the operator, source line "file:line"; "" where unknown."""

    layer: str
    op: str
    source: str

    def __str__(self) -> str:
        at = f" ({self.source})" if self.source else ""
        return f"{self.layer or 'net'}: {self.op}{at}"


@dataclass(frozen=True)
class NotReached(OperatorPlace):
    """An operator that compares, clamps, rounds or looks up, and an answer that no sample of any run got.

    missing: the answer, such as "true" for a comparison that was false everywhere.
    """

    missing: str

    def __str__(self) -> str:
        return f"{super().__str__()} never came out as {self.missing}"


@dataclass(frozen=True)
class Proof:
    """One proof. status: "proved", "refuted" or "not applicable". checks: how many comparisons it rests on.

    reason: why it does not apply, or what its checks were. failures: what refutes it, one sentence each.
    caveat: what a successful proof leaves open: branches that no sample entered.

    >>> Proof.of("values", "4 blocks against the whole", 4, []).status
    'proved'
    """

    name: str
    status: str
    reason: str
    checks: int = 0
    failures: tuple[str, ...] = ()
    caveat: str = ""

    @staticmethod
    def of(name: str, reason: str, checks: int, failures: list[str]) -> Proof:
        """Proved or refuted, according to its failures; not applicable where there was nothing to check.

        >>> Proof.of("values", "two blocks", 2, ["block [0, 8) is off by 0.1"]).status
        'refuted'
        """
        if not checks:
            return Proof(name, NOT_APPLICABLE, reason)
        return Proof(name, REFUTED if failures else PROVED, reason, checks, tuple(failures))

    def with_caveat(self, not_reached: Sequence[NotReached]) -> Proof:
        """The same proof, with these branches left open.

        >>> never = NotReached("gate", "aten::gt", "net.py:7", missing="true")
        >>> Proof.of("values", "4 blocks against the whole", 4, []).with_caveat([never]).caveat
        'but for one branch that no sample entered'
        """
        if self.status != PROVED or not not_reached:
            return self
        count = "one branch" if len(not_reached) == 1 else f"{len(not_reached)} branches"
        return replace(self, caveat=f"but for {count} that no sample entered")

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "failures": list(self.failures)}


def all_proved(proofs: Sequence[Proof]) -> bool:
    """Everything that applies is proved, and something applies."""
    statuses = [proof.status for proof in proofs]
    return REFUTED not in statuses and PROVED in statuses


@dataclass(frozen=True)
class Figures:
    """Blocks against the whole, in one floating type. error: max |difference| / max |whole| of the worst output. ulps:
    the largest difference in units in the last place. identical: the share of bit-identical samples. Bytes at the
    fullest moment (on CUDA those of its allocator, elsewhere those of live tensors) and seconds, for the whole run and
    for all blocks.

    >>> f = Figures("float32", 1.2e-7, 1.0, 0.98, 4096, 1024, 0.01, 0.02)
    >>> f.blocks_bytes / f.full_bytes
    0.25
    """

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

    not_reached: branches that no sample of the proofs entered; what is proved holds for the others.

    >>> v = oc.verify(nn.Conv1d(1, 1, 3, padding=1), (1, 1, 32), block=8)
    >>> v["exact twin"].status, v["exact twin"].checks, v.plan.count
    ('proved', 4, 4)
    """

    proofs: tuple[Proof, ...]
    figures: tuple[Figures, ...]
    plan: Plan
    device: str
    torch: str
    not_reached: tuple[NotReached, ...] = ()

    @property
    def proved(self) -> bool:
        """Everything that applies is proved, and something applies. But see `not_reached`."""
        return all_proved(self.proofs)

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
