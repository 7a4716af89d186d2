"""Which function computes which operator's twin. One table, filled by the families."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .call import Call

Compute = Callable[[Call], Any]
TABLE: dict[str, Compute] = {}


def twin(*names: str) -> Callable[[Compute], Compute]:
    """Register the twin of ATen operators, by their functional names and for all their overloads."""

    def register(compute: Compute) -> Compute:
        for name in names:
            if name in TABLE:
                raise ValueError(f"aten::{name} has a twin already")
            TABLE[name] = compute
        return compute

    return register
