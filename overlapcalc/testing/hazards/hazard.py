"""A layer that is easy to get wrong: its recipe, by name, and how it is drawn."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import InputError
from .operands import PATTERNS, Operands

Function = Callable[[Any, Tensor], Tensor]
"""The module and an image (N, C, H, W) -> a tensor with the same axes, H and W last."""
Parts = Callable[[int], dict[str, nn.Module]]
"""Number of channels -> the modules with weights that the function uses, by name."""
TABLE = 96
"""The length of the tables that `table` and `learned` constants are cut from."""
LATEST = 4
"""Constants vary along one of this many dimensions, counted from the last."""


@dataclass(frozen=True)
class Recipe:
    """One function. positions: the operands that can be a constant, empty where the function makes its own."""

    family: str
    name: str
    function: Function
    positions: tuple[str, ...] = ()
    layouts: tuple[str, ...] = ()
    parts: Parts | None = None


RECIPES: dict[str, Recipe] = {}


def hazard(
    family: str, *positions: str, layouts: Sequence[str] = (), parts: Parts | None = None, name: str = ""
) -> Callable[[Function], Function]:
    """Register a function as a recipe of a family, under its own name unless another is given."""

    def register(function: Function) -> Function:
        called = f"{family}.{name or function.__name__.strip('_')}"
        if called in RECIPES:
            raise InputError(f"the hazard {called!r} is there already")
        RECIPES[called] = Recipe(family, called, function, positions, tuple(layouts), parts)
        return function

    return register


class Hazard(nn.Module):
    """A layer that must be either refused by name, or right.

    channels: those of its input. position: the operand that is a constant. pattern, dim: how it varies, and along which
    of its dimensions. layout: how an image becomes a sequence, for operators over sequences.

    >>> layer = Hazard(3, "constants.lerp", "weight", "ramp", -1)  # the weight grows along W: an absolute position
    >>> layer, layer(torch.rand(1, 3, 16, 16)).shape
    (Hazard(constants.lerp, weight, ramp, -1), torch.Size([1, 3, 16, 16]))
    """

    table: Tensor

    def __init__(
        self, channels: int, name: str, position: str = "", pattern: str = "same", dim: int = -1, layout: str = ""
    ) -> None:
        super().__init__()
        if name not in RECIPES:
            raise InputError(f"Hazard: name={name!r} is not known; there are {', '.join(sorted(RECIPES))}")
        self.recipe = RECIPES[name]
        generator = torch.Generator().manual_seed(7)
        self.register_buffer("table", torch.rand(TABLE, generator=generator, dtype=torch.float64) + 0.3)
        self.learned = nn.Parameter(torch.rand(TABLE, generator=generator) + 0.3)
        self.operands = Operands(position, pattern, dim, layout)
        for part, module in (self.recipe.parts(channels) if self.recipe.parts else {}).items():
            setattr(self, part, module)

    def put(self, position: str, data: Tensor, kind: str = "real", limit: int = 0) -> Tensor:
        """The data, or the constant instead of it. See `Operands.constant`."""
        if position != self.operands.position:
            return data
        return self.operands.constant(data, kind, limit, self.table, self.learned)

    def forward(self, x: Tensor) -> Tensor:
        return self.recipe.function(self, x)

    def extra_repr(self) -> str:
        return f"{self.recipe.name}, {self.operands}"


def drawn(family: str, rng: random.Random) -> tuple[Any, ...]:
    """The arguments, after the channels, of a random hazard of a family."""
    recipe = RECIPES[rng.choice(names(family))]
    figures: list[Any] = [recipe.name]
    if recipe.positions:
        figures += [rng.choice(recipe.positions), rng.choice(PATTERNS), -rng.randint(1, LATEST)]
    if recipe.layouts:
        figures += ["", "same", -1][len(figures) - 1 :]
        figures.append(rng.choice(recipe.layouts))
    return tuple(figures)


def names(family: str) -> list[str]:
    """The names of a family's recipes. Raises InputError."""
    found = [name for name, recipe in RECIPES.items() if recipe.family == family]
    if not found:
        raise InputError(f"hazards: family={family!r}; expected one of {', '.join(HAZARDS)}")
    return found


HAZARDS = ("constants", "channels", "factors", "aliases", "overloads", "types")
