"""Maxima and minima in parts, with their positions; whether any or all samples are true."""

from __future__ import annotations

from ..accumulate import larger, over, reduces, smaller
from ..call import Call
from ..parts import Band, Cut, Partial, in_parts
from ..slab import Tensor


def first(call: Call, partial: Partial) -> Tensor:
    result: Tensor = partial[0]
    return result


def meant(call: Call, partial: Partial) -> Tensor:
    """The one of two results that the call is for."""
    result: Tensor = partial[call.node.result]
    return result


def last(call: Call, partial: Partial) -> Tensor:
    result: Tensor = partial[-1]
    return result


def one_operand(call: Call, cut: Cut) -> bool:
    return call["other"] is None and reduces(call, cut)


def one_dimension(call: Call, cut: Cut) -> bool:
    """Positions count along one dimension: those of several together are not positions along the axis."""
    return one_operand(call, cut) and len(call.dims()) == 1


# ---- values ---------------------------------------------------------------------------------------------------


def start_largest(band: Band) -> Partial:
    return (band.operand().amax(*over(band)),)


def start_smallest(band: Band) -> Partial:
    return (band.operand().amin(*over(band)),)


def start_both(band: Band) -> Partial:
    return (*start_smallest(band), *start_largest(band))


def largest(a: Partial, b: Partial) -> Partial:
    return (larger(a[0], b[0]),)


def smallest(a: Partial, b: Partial) -> Partial:
    return (smaller(a[0], b[0]),)


def both(a: Partial, b: Partial) -> Partial:
    return smaller(a[0], b[0]), larger(a[1], b[1])


in_parts("aten::amax", fits=reduces, start=start_largest, combine=largest, finish=first)
in_parts("aten::amin", fits=reduces, start=start_smallest, combine=smallest, finish=first)
in_parts("aten::aminmax", fits=reduces, start=start_both, combine=both, finish=meant)


# ---- values with positions: the first of equal ones, and the first NaN before all -----------------------------


def start_last(band: Band) -> Partial:
    """The maximum, and its position along the whole dimension."""
    values, places = band.operand().max(*_along(band))
    return values, places + band.begins


def start_least(band: Band) -> Partial:
    values, places = band.operand().min(*_along(band))
    return values, places + band.begins


def _along(band: Band) -> tuple[int, bool]:
    dims, stay = over(band)
    return dims[0], stay


def start_maximum(band: Band) -> Partial:
    return start_largest(band) if band.call["dim"] is None else start_last(band)


def start_minimum(band: Band) -> Partial:
    return start_smallest(band) if band.call["dim"] is None else start_least(band)


def maximum(a: Partial, b: Partial) -> Partial:
    if len(a) == 1:
        return largest(a, b)
    kept = (a[0] >= b[0]) | a[0].isnan()
    return larger(a[0], b[0]), a[1].where(kept, b[1])


def minimum(a: Partial, b: Partial) -> Partial:
    if len(a) == 1:
        return smallest(a, b)
    kept = (a[0] <= b[0]) | a[0].isnan()
    return smaller(a[0], b[0]), a[1].where(kept, b[1])


in_parts("aten::max", fits=one_operand, start=start_maximum, combine=maximum, finish=meant, ordered=True)
in_parts("aten::min", fits=one_operand, start=start_minimum, combine=minimum, finish=meant, ordered=True)
in_parts("aten::argmax", fits=one_dimension, start=start_last, combine=maximum, finish=last, ordered=True)
in_parts("aten::argmin", fits=one_dimension, start=start_least, combine=minimum, finish=last, ordered=True)


# ---- truth ----------------------------------------------------------------------------------------------------


def takes_truth(call: Call, cut: Cut) -> bool:
    """An empty list of dimensions means none of them to these two."""
    return call["dim"] != () and reduces(call, cut)


def start_any(band: Band) -> Partial:
    return ((band.operand() != 0).amax(*over(band)),)


def start_all(band: Band) -> Partial:
    return ((band.operand() != 0).amin(*over(band)),)


in_parts("aten::any", fits=takes_truth, start=start_any, combine=largest, finish=first)
in_parts("aten::all", fits=takes_truth, start=start_all, combine=smallest, finish=first)
