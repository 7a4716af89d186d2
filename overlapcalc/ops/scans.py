"""Scans: operators that run along an axis in one direction, with a state that a stream carries from band to band.

Each family says how beside its law: `run(slab, carried)` gives the region of the output and the state behind it.
`carried` is the state before the region; None where the region begins with the axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .call import Call
from .parts import Cut
from .registry import known_of, say
from .slab import Slab, Tensor

CARRIED = "carried"
"""The argument of a call that is given its state band by band."""


@dataclass(frozen=True)
class Scan:
    """How an operator runs along an axis, band by band. fits: whether a call does, given the dimension of each operand
    that holds the axis, as for a `Reduction`. run: see the module's text."""

    fits: Callable[[Call, Cut], bool]
    run: Callable[[Slab, Any], tuple[Tensor, Any]]


def in_order(*ops: str | Callable[..., object], **how: Any) -> None:
    """Register how operators, named as for `rule`, run along an axis: the fields of a `Scan`. Raises RuleError for one
    that has a way already."""
    say("scan", ops, Scan(**how))


def scan_of(op: str) -> Scan | None:
    found: Scan | None = known_of(op).scan
    return found
