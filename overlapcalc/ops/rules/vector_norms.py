"""Norms of vectors in parts: sums of powers, or the largest or smallest absolute value."""

from __future__ import annotations

from ..accumulate import larger, operand, over, precise, reduces, smaller
from ..call import Call
from ..parts import Band, Partial, in_parts
from ..slab import Tensor

SUM, LARGEST, SMALLEST = 0, 1, -1
INFINITY = float("inf")


def order(call: Call) -> float:
    """2 where none is given."""
    given = call["ord"] if call["ord"] is not None else call["p"]
    return 2.0 if given is None else float(given)


def start(band: Band) -> Partial:
    """The partial result, and how two of them are joined."""
    x, p, (dims, stay) = operand(band), order(band.call), over(band)
    if abs(p) == INFINITY:
        size = x.abs()
        return (size.amax(dims, stay), LARGEST) if p > 0 else (size.amin(dims, stay), SMALLEST)
    if p == 0:
        return (x != 0).sum(dims, keepdim=stay), SUM
    powers = x * x if p == 2 else x.abs() if p == 1 else x.abs().pow(p)
    return precise(powers.sum(dims, keepdim=stay)), SUM


def combine(a: Partial, b: Partial) -> Partial:
    (x, how), (y, _) = a, b
    return (x + y if how == SUM else larger(x, y) if how == LARGEST else smaller(x, y)), how


def finish(call: Call, partial: Partial) -> Tensor:
    total, how = partial
    p = order(call)
    if how != SUM or p in (0, 1):
        return total
    return total.sqrt() if p == 2 else total.pow(1 / p)


in_parts("aten::linalg_vector_norm", "aten::norm", "aten::frobenius_norm", fits=reduces, start=start, combine=combine,
         finish=finish)  # fmt: skip
