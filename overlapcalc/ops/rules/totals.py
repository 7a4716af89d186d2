"""Sums, means, products and counts in parts: partial results are added, or multiplied."""

from __future__ import annotations

from ..accumulate import added, asked, operand, over, precise, reduces, wide
from ..call import Call
from ..parts import Band, Partial, in_parts
from ..slab import Tensor


def only(call: Call, partial: Partial) -> Tensor:
    """A result that is the partial one."""
    result: Tensor = partial[0]
    return result


def ratio(call: Call, partial: Partial) -> Tensor:
    total, count = partial
    return total / count


def start_sum(band: Band) -> Partial:
    dims, stay = over(band)
    return (precise(operand(band).sum(dims, keepdim=stay)),)


def start_mean(band: Band) -> Partial:
    (total,) = start_sum(band)
    return total, band.operand().numel() // total.numel()


def start_nansum(band: Band) -> Partial:
    dims, stay = over(band)
    return (precise(operand(band).nansum(dims, keepdim=stay)),)


def start_nanmean(band: Band) -> Partial:
    dims, stay = over(band)
    return (*start_nansum(band), band.operand().isnan().logical_not().sum(dims, keepdim=stay))


def start_count(band: Band) -> Partial:
    return ((band.operand() != 0).sum(list(band.call.dims())),)


in_parts("aten::sum", fits=reduces, start=start_sum, combine=added, finish=only)
in_parts("aten::mean", fits=reduces, start=start_mean, combine=added, finish=ratio)
in_parts("aten::nansum", fits=reduces, start=start_nansum, combine=added, finish=only)
in_parts("aten::nanmean", fits=reduces, start=start_nanmean, combine=added, finish=ratio)
in_parts("aten::count_nonzero", fits=reduces, start=start_count, combine=added, finish=only)

# ---- products -------------------------------------------------------------------------------------------------


def start_product(band: Band) -> Partial:
    """In float64 within a band too: a part may overflow where the whole does not."""
    x = precise(wide(asked(band.call, band.operand())))
    dims, stay = over(band)
    if band.call["dim"] is None:
        return (x.prod(),)
    return (x.prod(dims[0], keepdim=stay),)


def multiplied(a: Partial, b: Partial) -> Partial:
    return (a[0] * b[0],)


in_parts("aten::prod", fits=reduces, start=start_product, combine=multiplied, finish=only)
