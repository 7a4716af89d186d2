"""Softmax and the logarithm of a sum of exponentials, in parts: the maximum, and the sum of exponentials below it.

Samples at minus infinity are left out: a band of nothing else has no maximum, and adds nothing to the sum.
"""

from __future__ import annotations

from ..accumulate import asked, larger, operand, over, pair, precise, reduces, wide, working
from ..call import Call
from ..parts import Band, Cut, Partial, in_parts
from ..slab import Slab, Tensor


def reference(most: Tensor) -> Tensor:
    """What to subtract before an exponential: the maximum, or 0 where there is none."""
    return most.masked_fill(most.isneginf(), 0)


def started(x: Tensor, dims: list[int], stay: bool) -> Partial:
    x = x if x.is_floating_point() else x.float()
    most = x.amax(dims, True)
    total = (x - reference(most)).exp_().sum(dims, keepdim=stay)
    return precise(most if stay else most.squeeze(tuple(dims))), precise(total)


def combine(a: Partial, b: Partial) -> Partial:
    (most, total), (other, more) = a, b
    new = larger(most, other)
    zero = reference(new)
    return new, total * (most - zero).exp() + more * (other - zero).exp()


# ---- the logarithm of the sum ---------------------------------------------------------------------------------


def start_logsumexp(band: Band) -> Partial:
    return started(operand(band), *over(band))


def finish_logsumexp(call: Call, partial: Partial) -> Tensor:
    most, total = partial
    result = reference(most) + total.log()
    return result.where(most.isposinf().logical_not(), most)


in_parts("aten::logsumexp", fits=reduces, start=start_logsumexp, combine=combine, finish=finish_logsumexp)

# ---- softmax --------------------------------------------------------------------------------------------------


def takes_softmax(call: Call, cut: Cut) -> bool:
    return len(cut) == 1 and cut[0] == call.dim()


def start_softmax(band: Band) -> Partial:
    return started(operand(band), [band.call.dim()], True)


def finish_softmax(call: Call, partial: Partial) -> Tensor:
    return pair(*partial)


def below(slab: Slab, statistics: Tensor) -> tuple[Tensor, Tensor]:
    """The samples less their maximum, and the sum of exponentials, in the type in which they are computed."""
    x = wide(asked(slab.call, slab.fetch(0)))
    return x - working(statistics[0], x), working(statistics[1], x)


def softmax(slab: Slab, statistics: Tensor) -> Tensor:
    x, total = below(slab, statistics)
    return slab.typed(x.exp_().div_(total))


def safe_softmax(slab: Slab, statistics: Tensor) -> Tensor:
    """0 where nothing is above minus infinity."""
    x, total = below(slab, statistics)
    return slab.typed(x.exp_().div_(total).masked_fill_(statistics[0].isneginf(), 0))


def log_softmax(slab: Slab, statistics: Tensor) -> Tensor:
    x, total = below(slab, statistics)
    return slab.typed(x.sub_(total.log()))


for names, apply in (
    (("softmax", "_softmax"), softmax),
    (("_safe_softmax",), safe_softmax),
    (("log_softmax", "_log_softmax"), log_softmax),
):
    in_parts(*(f"aten::{name}" for name in names), fits=takes_softmax, start=start_softmax, combine=combine,
             finish=finish_softmax, apply=apply)  # fmt: skip
