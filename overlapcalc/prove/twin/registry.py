"""Which function computes which operator's twin: an entry of the one table of operators, filled by the families."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ops.registry import known_of, say
from .call import Call

Compute = Callable[[Call], Any]


def twin(*names: str) -> Callable[[Compute], Compute]:
    """Register the twin of operators, for all overloads: ATen operators by their functional names, others by their
    full names, such as `"mylib::blur5"`. Raises RuleError for one that already has a twin."""

    def register(compute: Compute) -> Compute:
        say("twin", map(_full, names), compute)
        return compute

    return register


def twin_of_op(name: str) -> Compute | None:
    """The twin of an operator, by its `Call.name`."""
    return known_of(_full(name)).twin


def _full(name: str) -> str:
    return name if "::" in name else f"aten::{name}"
