"""Layouts of what begins a stage, and calls that are given other tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..algebra.reshape import CELL, LOST, Factoring, Part
from ..ops.graph import Data


def without(layout: Factoring, axis: str) -> Factoring:
    """The same, with an axis as a dimension like any other."""
    return Factoring(
        tuple(Part(p.size, CELL if p.label in (axis, LOST) else p.label) for p in layout.parts), layout.widths
    )


def settled(layout: Factoring) -> Factoring:
    """The same; what has been torn apart, or is one sample long, is no axis."""
    parts = tuple(Part(p.size, CELL if p.label == LOST or p.size == 1 else p.label) for p in layout.parts)
    return Factoring(parts, layout.widths)


def renamed(args: Mapping[str, Any], names: Mapping[int, str]) -> dict[str, Any]:
    """Arguments with some data operands, by their index, replaced."""
    count = iter(range(1 << 30))

    def one(value: Any) -> Any:
        if isinstance(value, Data):
            k = next(count)
            return Data(names[k]) if k in names else value
        if isinstance(value, (tuple, list)):
            return type(value)(map(one, value))
        return value

    return {key: one(value) for key, value in args.items()}
