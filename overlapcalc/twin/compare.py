"""Comparisons and masks."""

from __future__ import annotations

import torch
from torch import Tensor

from .call import Call
from .field import PRIME, key, mixed
from .registry import twin

OPPOSITE = {"ne": "eq", "le": "gt", "lt": "ge"}


@twin("eq", "ne", "lt", "le", "gt", "ge")
def comparison(call: Call) -> Tensor:
    """Of data with data, and of whole numbers: as it is. Of data with a constant: a fixed map to yes and no.

    Nearly every residue is above 0, so `x > 0` as it is would be a constant, and would hide every error of x.
    """
    other = call["other"]
    both = isinstance(other, Tensor) and call.is_data(other) and call.is_data(call["self"])
    whole = not any(t.is_floating_point() for t in call.operands()) and not isinstance(other, float)
    if both or whole:
        result: Tensor = call.replayed(
            lambda name, v: call.residues_of(v) if isinstance(v, Tensor) and not whole else v
        )
        return result
    second = call.tensor("other") if isinstance(other, Tensor) else torch.tensor(call.number(other)).double()
    name = OPPOSITE.get(call.name, call.name)
    half = mixed(key(name), call.tensor("self"), second.to(call["self"].device)) < PRIME // 2
    return half if name == call.name else ~half


@twin("isnan", "isinf", "isneginf", "isposinf", "isfinite")
def finiteness(call: Call) -> Tensor:
    result: Tensor = call.replayed(lambda name, v: v)
    return result


@twin("logical_and", "logical_or", "logical_xor", "logical_not", "bitwise_and", "bitwise_or", "bitwise_xor",
      "bitwise_not", "__and__", "__or__", "__xor__", "any", "all")  # fmt: skip
def logic(call: Call) -> Tensor:
    if any(t.dtype != torch.bool for t in call.operands()):
        raise call.refused("takes numbers for yes and no")
    result: Tensor = call.replayed(lambda name, v: v)
    return result
