"""Variances and standard deviations in parts."""

from __future__ import annotations

from ..accumulate import Moments, moments, operand, over, pooled, reduces
from ..call import Call
from ..parts import Band, Partial, in_parts
from ..slab import Tensor


def start(band: Band) -> Partial:
    return moments(band, operand(band), over(band)[0])


def correction(call: Call) -> float:
    """How many samples torch leaves out of the count: 1 where nothing is said."""
    if call["unbiased"] is not None:
        return float(bool(call["unbiased"]))
    return 1.0 if call["correction"] is None else call["correction"]


def variance(call: Call, given: Moments) -> Tensor:
    left = max(0, given.samples - correction(call))
    return given.squares / left


def finish(call: Call, partial: Partial) -> Tensor:
    given = Moments(*partial)
    if call.node.result == 1:
        result = given.mean
    else:
        result = variance(call, given)
        if "std" in call.node.op:
            result = result.sqrt()
    return result if call["keepdim"] else result.squeeze(call.dims())


in_parts("aten::var", "aten::std", "aten::var_mean", "aten::std_mean", fits=reduces, start=start, combine=pooled,
         finish=finish)  # fmt: skip
