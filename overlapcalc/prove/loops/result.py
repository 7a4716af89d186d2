"""The result of verifying a loop."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..result import SCHEMA_VERSION, Proof, all_proved


@dataclass(frozen=True)
class LoopVerification:
    """All proofs of one loop at its size, in one order.

    >>> left = nn.Sequential(nn.ZeroPad2d((1, -1, 0, 0)), nn.Conv2d(1, 1, 1))
    >>> loop = oc.Loop(left, [oc.Stage(("output",), lambda cells: cells["output"], feeds="input")], (1, 1, 2, 4))
    >>> v = oc.verify(loop)
    >>> v.proved, [proof.name for proof in v.proofs]
    (True, ['order', 'fixed point', 'values'])
    """

    proofs: tuple[Proof, ...]
    order: str
    cells: tuple[int, ...]
    steps: int
    device: str
    torch: str

    @property
    def proved(self) -> bool:
        """Everything that applies is proved, and something applies."""
        return all_proved(self.proofs)

    def __getitem__(self, name: str) -> Proof:
        return next(proof for proof in self.proofs if proof.name == name)

    def to_dict(self) -> dict[str, Any]:
        return {"schema_version": SCHEMA_VERSION, "proved": self.proved, **asdict(self)}
