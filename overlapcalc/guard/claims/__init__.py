"""What can be claimed of a net. One file per family: what may be configured and how it is judged, side by side."""

from . import blocking, causal, cones, costs, grid, passes, proof, sides
from .claim import KINDS, Claim, ClaimKind, Setting, Subject, WrongValue

__all__ = [
    "KINDS",
    "Claim",
    "ClaimKind",
    "Setting",
    "Subject",
    "WrongValue",
    "blocking",
    "causal",
    "cones",
    "costs",
    "grid",
    "passes",
    "proof",
    "sides",
]
