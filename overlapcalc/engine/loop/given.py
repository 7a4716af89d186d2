"""What a run of a loop is given: the inputs that it does not make, and the type that it runs in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ...errors import Argument, InputError
from ..plan import floating_type


def run_type(net: nn.Module, dtype: torch.dtype | str | None) -> torch.dtype | None:
    """The floating type of a run. Raises InputError where the weights have another."""
    kind = floating_type(dtype)
    own = next((p.dtype for p in net.parameters() if p.is_floating_point()), kind)
    if kind is not None and kind != own:
        raise InputError(Argument("dtype", dtype), f": the net's weights are {own}; convert the net")
    return kind


def in_order(names: Sequence[str], inputs: Sequence[Tensor], named: Mapping[str, Tensor]) -> list[Tensor]:
    """The inputs in the order of their names, of which the first may come without. Raises InputError."""
    if not named:
        return list(inputs)
    for name in named:
        if name not in names[len(inputs) :]:
            why = "given already" if name in names else f"not one of {', '.join(names) or 'none'}"
            raise InputError(f"input {name!r} is {why}")
    missing = [name for name in names[len(inputs) :] if name not in named]
    if missing:
        raise InputError(f"{', '.join(missing)} is missing; a run takes {', '.join(names)}")
    return [*inputs, *(named[name] for name in names[len(inputs) :])]


def fitting(
    names: Sequence[str],
    inputs: Sequence[Tensor],
    shapes: Mapping[str, Sequence[int]],
    types: Mapping[str, torch.dtype],
    dtype: torch.dtype | None,
) -> dict[str, Tensor]:
    """The inputs by name. dtype: of those that are floating. Raises InputError where they do not fit."""
    if len(inputs) != len(names):
        raise InputError(
            f"{len(inputs)} inputs; expected {', '.join(names) if names else 'none'}: what the loop does not make"
        )
    for name, x in zip(names, inputs, strict=True):
        if not isinstance(x, Tensor):
            raise InputError(f"{name} is a {type(x).__name__}; expected a tensor")
        if tuple(x.shape) != shapes[name]:
            raise InputError(f"{name} has shape {tuple(x.shape)}; this loop is for {shapes[name]}: make another")
        wanted = dtype if dtype is not None and types[name].is_floating_point else types[name]
        if x.dtype != wanted:
            raise InputError(f"{name} is {x.dtype}; this loop takes {wanted} there: convert it, or make another loop")
    return dict(zip(names, inputs, strict=True))
