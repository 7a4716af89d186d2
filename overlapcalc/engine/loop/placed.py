"""Constants that lie along the axes of a loop, as a position embedding does: each sample is made with its own part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...ops.graph import Constant
from ...ops.place import varies
from ...propagate.values import Propagation


@dataclass(frozen=True)
class Placed:
    """A dimension of a constant that lies along axes of the loop. axes: those. alone: whether its dimension of the
    output holds nothing else. trailing: whether the constant is laid on the last dimensions of the output, as operands
    are that broadcast. differs: whether it is not the same all along them."""

    axes: tuple[str, ...]
    alone: bool
    trailing: bool
    differs: bool


def placed_along(net: Propagation, axes: Sequence[str], node: str) -> Iterator[Placed]:
    """The dimensions of constants of a call that lie along axes, and are longer than 1."""
    value, call = net.values[node], net.graph[node]
    layout = value.layout
    for place in value.law.places:
        argument: Any = call.args.get(place.argument)
        constant = argument if place.item is None else argument[place.item]
        if not isinstance(constant, Constant):
            continue
        for s, d in place.targets:
            along = tuple(axis for axis in layout.axes_of(d) if axis in axes)
            if along and constant.shape[s] != 1:
                trailing = all(b - a == len(layout.widths) - len(constant.shape) for a, b in place.targets)
                yield Placed(along, layout.widths[d] == 1, trailing, varies(constant, s))


def at_places(value: Tensor, along: Mapping[int, Tensor], first: int, dims: int) -> Tensor:
    """A constant at the place of each sample, as a column: the samples along dimension `first` of the output.

    value: laid on the last of the `dims` dimensions of the output. along: output dimension -> the place of each sample.

    >>> import torch
    >>> grid = torch.arange(6).reshape(2, 3)
    >>> at_places(grid, {2: torch.tensor([0, 1]), 3: torch.tensor([2, 0])}, 2, 4).flatten().tolist()
    [2, 3]
    """
    whole = value.reshape(*(1,) * (dims - value.dim()), *value.shape)
    cut = [d for d in along if whole.shape[d] != 1]
    if not cut:
        return value
    rest = [d for d in range(dims) if d not in cut]
    places = tuple(along[d].to(whole.device) for d in cut)
    picked = whole.permute(*cut, *rest)[places]
    one_each = picked.reshape(len(picked), *(1 if d in cut else whole.shape[d] for d in range(dims)))
    return one_each.transpose(0, first + 1).squeeze(0)
