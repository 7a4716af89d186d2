"""Comparisons, masks, and look-ups in lists and tables."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .call import Call
from .modular import PRIME, key, mixed, mod
from .rearrange import moved
from .registry import twin

OPPOSITE = {"ne": "eq", "le": "gt", "lt": "ge"}


@twin("eq", "ne", "lt", "le", "gt", "ge")
def comparison(call: Call) -> Tensor:
    """Data with data, and booleans: as it is. Data with a constant: a fixed map to booleans.

    Nearly every residue is above 0, so `x > 0` as it is would be a constant, and would hide every error in x. Integers
    are compared this way too: the label asked for may not occur in any image of the proof.
    """
    other = call["other"]
    both = isinstance(other, Tensor) and call.is_data(other) and call.is_data(call["self"])
    truth = all(t.dtype == torch.bool for t in call.operands()) and not isinstance(other, float)
    whole = not any(t.is_floating_point() for t in call.operands()) and not isinstance(other, float)
    if both or truth:
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
        raise call.refused("takes numbers for true and false")
    result: Tensor = call.replayed(lambda name, v: v)
    return result


# ---- look-ups -------------------------------------------------------------------------------------------------


@twin("bucketize", "searchsorted")
def ranked(call: Call) -> Tensor:
    """A fixed map from the sample and the whole list that it is compared with to a position in that list.

    A real search would nearly always end at the last position, because residues are large.
    """
    row = call.tensor("boundaries" if call.name == "bucketize" else "sorted_sequence")
    x = call.tensor("self") if isinstance(call["self"], Tensor) else torch.tensor(call.number(call["self"])).double()
    marks = _list_mark(row)
    if row.dim() > 1:  # one list per row of samples
        marks = marks.unsqueeze(-1)
    return mixed(key("searchsorted"), x.to(row.device), marks).remainder(row.shape[-1] + 1).to(torch.int64)


@twin("isin")
def member(call: Call) -> Tensor:
    """A fixed map from the sample and the set that it is compared with, in any order, to booleans."""
    if not isinstance(call["elements"], Tensor):
        raise call.refused("asks of a constant whether it is among the data")
    others = call["test_elements"]
    listed = call.tensor("test_elements") if isinstance(others, Tensor) else torch.tensor(call.number(others)).double()
    x = call.tensor("elements")
    mark = mod(mixed(key("isin"), listed.reshape(-1)).sum()).to(x.device)
    return (mixed(key("isin"), x, mark) < PRIME // 2) ^ bool(call["invert"])


def _list_mark(rows: Tensor) -> Tensor:
    """One residue for each list along the last dimension: a different one wherever a single entry differs."""
    places = mixed(key("place"), torch.arange(rows.shape[-1], dtype=torch.float64, device=rows.device))
    return mod(mod(mixed(key("entry"), rows) * places).sum(-1))


@twin("embedding")
def embedded(call: Call) -> Tensor:
    """An index that is a residue is taken modulo the length of the table."""
    table = call.tensor("weight")
    return table[call["indices"].remainder(table.shape[0])]


@twin("index", "_unsafe_index", "index_select", "gather", "take", "take_along_dim")
def looked_up(call: Call) -> Any:
    """The samples at indices that are constants; indices that are data are taken modulo the length of the dimension."""
    sized = {"index_select": "dim", "gather": "dim", "take_along_dim": "dim"}
    operand = call["self"]

    def within(places: Any, d: int | None) -> Any:
        if not isinstance(places, Tensor) or places.dtype in (torch.bool, torch.uint8) or not call.is_data(places):
            return places
        return places.remainder(operand.numel() if d is None else operand.shape[d])

    values = dict(call.values)
    if call.name in ("index", "_unsafe_index"):
        values["indices"] = [within(places, d) for d, places in enumerate(call["indices"])]
    else:
        name = "indices" if call.name == "take_along_dim" else "index"
        d = call[sized[call.name]] if call.name in sized else None
        values[name] = within(call[name], d)
    return moved(Call(call.func, call.name, values, call.is_data, call.layer))
