"""A layer that needs more of an axis than a band: its recipe, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ...errors import InputError

Function = Callable[[Any, Tensor], Tensor]
"""The module and an image (N, C, one to three axes) -> a tensor."""
Parts = Callable[[int], dict[str, nn.Module]]
"""Number of channels -> the modules with weights that the function uses, by name."""
ANY = (1, 2, 3)


@dataclass(frozen=True)
class Recipe:
    """One function. numbers: of axes that it takes. last: its result is no image, so nothing follows it."""

    function: Function
    numbers: tuple[int, ...]
    parts: Parts | None
    last: bool


RECIPES: dict[str, Recipe] = {}


def barrier(
    name: str, *, numbers: tuple[int, ...] = ANY, parts: Parts | None = None, last: bool = False
) -> Callable[[Function], Function]:
    """Register a function as a recipe."""

    def register(function: Function) -> Function:
        if name in RECIPES:
            raise InputError(f"the barrier {name!r} is there already")
        RECIPES[name] = Recipe(function, numbers, parts, last)
        return function

    return register


class Barrier(nn.Module):
    """A layer that tiles of the unmodified net cannot run, or at this size alone; see `barrier_net`.

    channels: those of its input. name: of its recipe.

    >>> Barrier(4, "group_norm")(torch.rand(1, 4, 9, 7)).shape
    torch.Size([1, 4, 9, 7])
    """

    def __init__(self, channels: int, name: str) -> None:
        super().__init__()
        if name not in RECIPES:
            raise InputError(f"Barrier: name={name!r} is not known; there are {', '.join(sorted(RECIPES))}")
        self.name, self.recipe = name, RECIPES[name]
        for part, module in (self.recipe.parts(channels) if self.recipe.parts else {}).items():
            setattr(self, part, module)

    def forward(self, x: Tensor) -> Tensor:
        return self.recipe.function(self, x)

    def extra_repr(self) -> str:
        return self.name


def space(x: Tensor) -> tuple[int, ...]:
    """The dimensions of the axes."""
    return tuple(range(2, x.dim()))


def wide(x: Tensor, like: Tensor) -> Tensor:
    """(N, C) with a dimension of one sample for each axis of an image."""
    return x.reshape(*x.shape[:2], *[1] * (like.dim() - 2))
