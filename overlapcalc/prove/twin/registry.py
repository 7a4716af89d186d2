"""Which function computes which operator's twin: an entry of the one table of operators, filled by the families."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ops.registry import known_of, say
from .call import Call

Compute = Callable[[Call], Any]


def twin(*names: str) -> Callable[[Compute], Compute]:
    """Register the twin of ATen operators, by their functional names and for all their overloads. Raises RuleError for
    one that already has a twin."""

    def register(compute: Compute) -> Compute:
        say("twin", (f"aten::{name}" for name in names), compute)
        return compute

    return register


def twin_of_op(name: str) -> Compute | None:
    """The twin of an ATen operator, by its functional name."""
    return known_of(f"aten::{name}").twin
