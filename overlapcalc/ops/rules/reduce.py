"""Reductions and sorts along dimensions: global on a spatial axis, bookkeeping elsewhere."""

from __future__ import annotations

from ...algebra.index_map import IndexMap
from ..call import Call
from ..facts import describe
from ..kind import Kind
from ..law import Cause, DimRead, Law, Link, carried, keep, whole
from ..registry import rule
from ..slab import Slab, Tensor, on_slab


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
    if call["dim"] == () and call.node.op in ("aten::all", "aten::any"):
        return call.identity()  # these two take an empty list of dimensions at its word
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


describe("aten::norm", "aten::linalg_vector_norm", "aten::frobenius_norm", kind=Kind.NORM)
describe("aten::argmax", "aten::argmin", stops_nan=True)


@rule("aten::cumsum", "aten::cumprod", "aten::logcumsumexp", "aten::cummax", "aten::cummin", shown=False)
def cumulative(call: Call) -> Law:
    d, n = call.dim(), len(call.shape)
    link = keep(n, but={d: carried(d, d, "accumulates along the whole axis")})
    return Law((Link(0, link, exact=False),))


@rule("aten::_fft_c2c", "aten::_fft_r2c", "aten::_fft_c2r", shown=False, sizes=("last_dim_size",))
def fourier(call: Call) -> Law:
    n = len(call.shape)
    return Law((Link(0, keep(n, but={d: whole(d, d, "a Fourier transform of the axis") for d in call.dims()})),))


@on_slab("aten::_fft_c2c", "aten::_fft_r2c", "aten::_fft_c2r")
def fourier_on_slab(slab: Slab) -> Tensor:
    """Over what is not cut, as it is."""
    for d in slab.call.dims():
        span, size = slab.span(d), slab.call.shape[d]
        if span is not None and span.length != size:
            raise slab.none("transforms a part of an axis")
    return slab.run()


@rule("aten::sort", "aten::topk", "aten::argsort", shown=False)
def sort(call: Call) -> Law:
    d = -1 if call["dim"] is None else int(call["dim"])
    n = len(call.shapes[0])
    link = keep(n, but={d % n: whole(d % n, d % n, "sorts along the axis", Cause.REORDER)})
    return Law((Link(0, link),))
