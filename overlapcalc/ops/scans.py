"""Scans: operators that run along an axis, with a state that is carried from band to band.

One that goes forward alone runs with a stream. Its family says how beside its law: `run(slab, carried)` gives the
region of the output and the state behind it. `carried` is the state before the region; None where the region begins
with the axis. One that goes backward too needs the end first: it goes to and fro over what is stored, way by way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


@dataclass(frozen=True)
class Way:
    """One way along an axis, over all bands. reads: what is read of every band, 0 for the operand and k for the result
    of the k-th way. backward: from the last band to the first. run: the call (a `parts.Band`), the bands that are read
    and the state, None at first, to the band of the result and the state behind it."""

    reads: tuple[int, ...]
    backward: bool
    run: Callable[[Any, Sequence[Tensor], Any], tuple[Tensor, Any]]


@dataclass(frozen=True)
class Sweep:
    """How an operator of one operand runs to and fro along an axis. fits: whether a call does, as for a `Reduction`.
    ways: one after another; the last one's result is the operator's."""

    fits: Callable[[Call, Cut], bool]
    ways: Callable[[Call], tuple[Way, ...]]


def to_and_fro(*ops: str | Callable[..., object], **how: Any) -> None:
    """Register how operators, named as for `rule`, run to and fro along an axis: the fields of a `Sweep`. Raises
    RuleError for one that has such a way already."""
    say("sweep", ops, Sweep(**how))


def sweep_of(op: str) -> Sweep | None:
    found: Sweep | None = known_of(op).sweep
    return found


def in_order(*ops: str | Callable[..., object], **how: Any) -> None:
    """Register how operators, named as for `rule`, run along an axis: the fields of a `Scan`. Raises RuleError for one
    that has a way already."""
    say("scan", ops, Scan(**how))


def scan_of(op: str) -> Scan | None:
    found: Scan | None = known_of(op).scan
    return found
