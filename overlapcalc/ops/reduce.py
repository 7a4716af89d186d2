"""Reductions along dimensions, and products of matrices: global on a spatial axis, bookkeeping elsewhere."""

from __future__ import annotations

from ..graph import Constant
from ..index import IndexMap
from .call import Call
from .law import Block, Cause, DimRead, Law, Link, keep, whole
from .registry import rule


@rule(
    *(
        f"aten::{name}"
        for name in (
            "mean", "sum", "amax", "amin", "max", "min", "argmax", "argmin", "prod", "var", "std", "var_mean",
            "std_mean", "linalg_vector_norm", "norm", "frobenius_norm", "logsumexp", "all", "any", "median",
            "nanmean", "nansum", "aminmax", "count_nonzero", "kthvalue", "mode",
        )
    ),
    shown=False,
)  # fmt: skip
def reduction(call: Call) -> Law:
    """The dimensions in `dim` are read whole; with `keepdim` they stay, one sample long."""
    n = len(call.shapes[0])
    if call["other"] is not None:  # max(a, b) of two tensors
        return call.broadcast()
    gone = call.dims()
    kept = len(call.shape) == n
    name = call.node.op.partition("::")[2]
    dims, target = [], 0
    for s in range(n):
        if s in gone:
            dims.append(whole(s, s if kept else None, f"{name} over the whole axis"))
            target += kept
        else:
            dims.append(DimRead(s, target, IndexMap.identity()))
            target += 1
    return Law((Link(0, tuple(dims)),))


@rule("aten::cumsum", "aten::cumprod", "aten::logcumsumexp", "aten::cummax", "aten::cummin", shown=False)
def cumulative(call: Call) -> Law:
    d, n = call.dim(), len(call.shape)
    link = keep(n, but={d: whole(d, d, "accumulates along the whole axis")})
    return Law((Link(0, link, exact=False),))


@rule("aten::sort", "aten::topk", "aten::argsort", shown=False)
def sort(call: Call) -> Law:
    d = -1 if call["dim"] is None else int(call["dim"])
    n = len(call.shapes[0])
    link = keep(n, but={d % n: whole(d % n, d % n, "sorts along the axis", Cause.REORDER)})
    return Law((Link(0, link),))


@rule("aten::linear")
def linear(call: Call) -> Law:
    """Mixes the last dimension: channels in a channels-last net."""
    n = len(call.shapes[0])
    weight = call.constant("weight")
    last = whole(n - 1, n - 1, "a linear layer mixes all positions of the axis")
    if weight is None:
        return matrix_product(call)
    if len(weight.shape) == 1:
        last = whole(n - 1, None, "a linear layer mixes all positions of the axis")
    return Law((Link(call.position("input") or 0, keep(n, but={n - 1: last})),))


@rule("aten::matmul", "aten::bmm", "aten::mm", "aten::addmm", "aten::baddbmm", "aten::mv", "aten::dot", shown=False)
def matrix_product(call: Call) -> Law:
    """Rows of the left factor, columns of the right one; the dimension between them is read whole."""
    n = len(call.shape)
    what = "a matrix product mixes all positions of the axis"
    links = []
    left = call.position("mat1" if "add" in call.node.op else "self")
    if "baddbmm" in call.node.op:
        left = call.position("batch1")
    if call.node.op == "aten::linear":
        left = call.position("input")
    for k, shape in enumerate(call.shapes):
        if "add" in call.node.op and k == call.position("self"):
            dims = [DimRead(s, n - len(shape) + s, IndexMap.identity()) for s in range(len(shape))]
            links.append(Link(k, tuple(dims)))
            continue
        m = len(shape)
        vector = m == 1
        between = m - 1 if k == left or vector else m - 2
        if call.node.op == "aten::linear" and k != left:
            between = m - 1
        own = None if vector else ((n - 2 if k == left else n - 1) if n >= 2 else n - 1)
        dims = [whole(between, None, what)]
        if not vector:
            free = m - 2 if between == m - 1 else m - 1
            dims.append(DimRead(free, own if n else None, IndexMap.identity()))
        extra = m - 2
        lead = n - 2
        for s in range(extra):
            t = lead - extra + s
            spread = shape[s] == 1 and call.shape[t] > 1
            dims.append(DimRead(s, t, None if spread else IndexMap.identity()))
        links.append(Link(k, tuple(dims)))
    periods, blocks = _factors(call, n)
    return Law(tuple(links), tuple(periods), tuple(blocks))


def _factors(call: Call, n: int) -> tuple[list[tuple[int, int]], list[tuple[int, Block]]]:
    """Constant factors, told apart along every dimension that the product keeps; a constant summand too."""
    left, right = next(
        pair for pair in (("mat1", "mat2"), ("batch1", "batch2"), ("self", "mat2"), ("self", "other"), ("self", "vec"),
                          ("self", "tensor"), ("input", "weight")) if all(name in call.node.args for name in pair)
    )  # fmt: skip
    periods: list[tuple[int, int]] = []
    blocks: list[tuple[int, Block]] = []
    for name, value in call.node.args.items():
        if not isinstance(value, Constant):
            continue
        m = len(value.shape)
        targets = {s: n - m + s for s in range(m)}
        if name in (left, right):
            between = m - 1 if name == left or m == 1 else m - 2
            targets = {s: t for s, t in targets.items() if s != between and 0 <= t < n}
            if m >= 2 and call.node.op != "aten::linear":
                kept = m - 2 if name == left else m - 1
                targets[kept] = n - 2 if name == left and n >= 2 else n - 1
        more = call.placed(value, {s: t for s, t in targets.items() if 0 <= t < n})
        periods, blocks = periods + more[0], blocks + more[1]
    return periods, blocks


@rule("aten::scaled_dot_product_attention", shown=False)
def attention(call: Call) -> Law:
    """Queries keep their place, keys and values are read whole."""
    n = len(call.shape)
    what = "attention reads every position"
    links = []
    for k, shape in enumerate(call.shapes):
        m = len(shape)
        dims = [DimRead(s, s + n - m, IndexMap.identity()) for s in range(m - 2)]
        if k == 0:
            dims += [DimRead(m - 2, n - 2, IndexMap.identity()), whole(m - 1, None, what)]
        else:
            dims += [whole(m - 2, None, what)]
            dims += [DimRead(m - 1, n - 1, IndexMap.identity())] if k == 2 else [whole(m - 1, None, what)]
        links.append(Link(k, tuple(dims)))
    return Law(tuple(links))
