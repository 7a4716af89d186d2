"""The order in which an operator leaves the dimensions of its operand."""

from __future__ import annotations

from .call import Call

PERMUTING = ("aten::permute", "aten::transpose", "aten::t", "aten::movedim", "aten::permute_copy", "aten::swapaxes",
             "aten::numpy_T", "aten::mT")  # fmt: skip


def order_of(call: Call) -> list[int]:
    """The dimension of the operand that each dimension of the result is, for one of `PERMUTING`."""
    n, op = len(call.shape), call.node.op
    if op in ("aten::permute", "aten::permute_copy"):
        return list(call.dims("dims"))
    order = list(range(n))
    if op == "aten::movedim":
        sources, targets = call.dims("source"), call.dims("destination")
        rest = iter(d for d in range(n) if d not in sources)
        where = dict(zip(targets, sources, strict=True))
        return [where[t] if t in where else next(rest) for t in range(n)]
    if op == "aten::numpy_T":
        return order[::-1]
    named = next((pair for pair in (("dim0", "dim1"), ("axis0", "axis1")) if call[pair[0]] is not None), None)
    a, b = (call.dim(named[0]), call.dim(named[1])) if named else (-2, -1)
    if n >= 2:
        order[a], order[b] = order[b], order[a]
    return order
