"""Sums, means, and reductions that are not sums but as symmetric, over dimensions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .call import Call
from .modular import PRIME, key, mixed, mod
from .registry import twin


def dims(call: Call, x: Tensor) -> list[int]:
    """The reduced dimensions; all when none is named."""
    value = call["dim"]
    if value is None or value == []:
        return list(range(x.dim()))
    return [d % max(x.dim(), 1) for d in ([value] if isinstance(value, int) else value)]


def _whole(call: Call) -> bool:
    return not any(t.is_floating_point() for t in call.operands())


def _summed(call: Call, x: Tensor) -> Tensor:
    over = dims(call, x)
    return mod(x.sum(over, keepdim=bool(call["keepdim"]))) if over else x.clone()


@twin("sum", "nansum")
def total(call: Call) -> Tensor:
    if _whole(call) and (call["dtype"] is None or not call["dtype"].is_floating_point):
        result: Tensor = call.replayed(lambda name, v: v)
        return result
    return _summed(call, call.tensor("self"))


@twin("mean")
def mean(call: Call) -> Tensor:
    x = call.tensor("self")
    count = 1
    for d in dims(call, x):
        count *= x.shape[d]
    if count % PRIME == 0:
        raise call.refused(f"takes the mean of {count} samples, a multiple of the prime")
    return mod(_summed(call, x) * pow(count, -1, PRIME))


@twin("prod")
def product(call: Call) -> Tensor:
    """Exactly, but for a factor of 0, which would hide all others: a fixed residue stands for it."""
    if _whole(call) and (call["dtype"] is None or not call["dtype"].is_floating_point):
        result: Tensor = call.replayed(lambda name, v: v)
        return result
    x, over = call.tensor("self"), dims(call, call["self"])
    x = torch.where(x == 0, key("zero"), x)
    shape = [1 if d in over else size for d, size in enumerate(x.shape)]
    row = x.movedim(over, list(range(-len(over), 0))).flatten(-len(over)) if over else x.unsqueeze(-1)
    while row.shape[-1] > 1:
        half = row.shape[-1] // 2
        row = torch.cat([mod(row[..., :half] * row[..., half : 2 * half]), row[..., 2 * half :]], -1)
    made = row.squeeze(-1) if row.shape[-1] else row.new_ones(row.shape[:-1])
    return made.reshape(shape) if call["keepdim"] else made


@twin("std", "var", "norm", "linalg_vector_norm", "logsumexp")
def symmetric(call: Call) -> Tensor:
    """A sum of a nonlinear map: as sensitive as the real reduction, and just as blind to order."""
    x = call.tensor("self")
    return mixed(key(call.name), _summed(call, mixed(call.key, x)))


@twin("var_mean", "std_mean")
def spread_and_mean(call: Call) -> tuple[Tensor, Tensor]:
    return symmetric(call), mean(call)


@twin("amax", "amin", "argmax", "argmin", "max", "min", "aminmax", "sort", "topk", "kthvalue", "median", "mode",
      "argsort", "msort", "nanmedian")  # fmt: skip
def chosen(call: Call) -> Any:
    """Maximum and the like, as they are on integers. Two operands and no dimension: the larger, sample by sample."""
    other = call["other"]
    if isinstance(other, Tensor) and not _whole(call):
        return mixed(call.key, call.tensor("self"), call.tensor("other"))
    whole = _whole(call)
    return call.replayed(lambda name, v: call.residues_of(v) if isinstance(v, Tensor) and not whole else v)


@twin("maximum", "minimum", "fmax", "fmin")
def larger(call: Call) -> Any:
    return chosen(call)


@twin("cumsum")
def running_total(call: Call) -> Tensor:
    x = call.tensor("self")
    if _whole(call):
        raise call.refused("keeps running totals of whole numbers")
    return mod(x.cumsum(call["dim"]))
