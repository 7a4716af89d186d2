"""Recipes of drawn nets, and how a list of them becomes a net.

A recipe says what it appends to the net so far, given the net's output shape on its smallest image. Lists of recipes
shrink by dropping elements, and each recipe shrinks to its plainest form, so a failing net shrinks to the few layers
that matter. What does not run on the smallest image is left out, not retried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st
from torch import nn

from ..errors import InputError
from .by_axes import AVG, CONV, MAX, TCONV
from .layer_recipes import (
    MOST_CHANNELS,
    Recipe,
    Recipes,
    Shape,
    conv,
    norm,
    nothing,
    pad,
    pointwise,
    pool,
    resample,
    shuffle,
    transposed,
)
from .modules import Add, Cat, Channels, Multiply
from .nets import Call, through

FAMILIES = ("conv", "transposed", "pool", "resample", "shuffle", "pointwise", "norm", "pad")
"""The families of `cnns(families=...)`: convolutions; transposed ones; max and average pooling; nearest and linear
resampling; pixel shuffle and unshuffle (along H and W only); pointwise functions; batch norm, GDN, norms and shuffles
of channels; pads and slices."""
SHARES = {
    "conv": 4, "transposed": 2, "pool": 2, "resample": 2, "shuffle": 1, "pointwise": 1, "norm": 1, "pad": 3
}  # fmt: skip
"""How often each is drawn relative to the others: more often if it reads beyond its own place."""
KEEPING = ("conv", "transposed", "pool", "pointwise", "norm")
"""Families that keep the scale at stride 1."""
MOST_GROWTH = 4
"""No tensor of a net has more than this many times as many samples a side as the image."""
NESTED = 2


# ---- from recipes to a net --------------------------------------------------------------------------------


def _fold(recipes: Sequence[Recipe], shape: Shape, image: Shape | None = None) -> tuple[list[Call], Shape]:
    """The calls of all recipes that fit, in a row, and their output shape. image: the net's, `shape` when absent."""
    calls: list[Call] = []
    here = shape
    for recipe in recipes:
        more = recipe(here)
        there = _through(more, here, image or shape) if more else None
        if there is not None:
            calls, here = [*calls, *more], there
    return calls, here


def with_all(recipes: Sequence[Recipe], image: Shape, required: Sequence[Recipe]) -> list[Call]:
    """The same with every required recipe; without the others, where these leave too little. Raises InputError."""
    for row in (recipes, required):
        calls: list[Call] = []
        here, lacking = image, None
        for recipe in row:
            more, there = _fold([recipe], here, image)
            if not more and any(recipe is one for one in required):
                lacking = f"{sequence(recipe(here))!r} on {'x'.join(map(str, here))}"
            calls, here = [*calls, *more], there
        if lacking is None:
            return calls
    raise InputError(f"cnns: no net with {lacking}: it does not run there in float64, or gives too little or too much")


def _through(calls: Sequence[Call], shape: Shape, image: Shape) -> Shape | None:
    """The output shape of modules in a row on this shape; None where they do not run, or return nothing or too much."""
    try:
        net = sequence(calls).build().double().eval()
    except (RuntimeError, ValueError):  # torch's constructors refuse a senseless padding, for example
        return None
    found = through(net, shape)
    if found is None or found[1] > MOST_CHANNELS:
        return None
    large = any(size > MOST_GROWTH * side for size, side in zip(found[2:], image[2:], strict=True))
    return None if large else found


def sequence(calls: Sequence[Call]) -> Call:
    if not calls:
        return Call.of(nn.Identity)
    return calls[0] if len(calls) == 1 else Call.of(nn.Sequential, *calls)


def yours(module: Callable[[int], nn.Module]) -> Recipe:
    return lambda shape: (Call.of(module, shape[1]),)


# ---- recipes ----------------------------------------------------------------------------------------------


class Kinds:
    """The recipes of the chosen families, along n axes."""

    def __init__(self, n: int, families: Sequence[str], strides: Sequence[int], skips: bool) -> None:
        self.n, self.strides, self.skips = n, strides, skips
        self.families = [f for f in families if f != "shuffle" or n == 2]

    def layer(self, nesting: int = NESTED) -> Recipes:
        """Any layer."""
        kinds = [self._family(family, self.strides) for family in self.families for _ in range(SHARES[family])]
        if self.skips and nesting:
            kinds += [self._branches(nesting)] * 2
            kinds += [self._unet(nesting)] * 2 if self._ups() and self._downs() else []
        return st.one_of(kinds)

    def _keeping(self, nesting: int) -> Recipes:
        """A layer that keeps the scale, so that its branch can meet the others."""
        kept = [family for family in self.families if family in KEEPING]
        kinds = [self._family(family, (1,)) for family in kept for _ in range(SHARES[family])]
        if nesting:
            kinds += [self._branches(nesting)]
        return st.one_of(kinds or [st.just(nothing)])

    def _family(self, family: str, strides: Sequence[int]) -> Recipes:
        if family == "conv":
            return conv(self.n, strides)
        if family == "transposed":
            return transposed(self.n, strides)
        if family == "pool":
            return pool(self.n, strides)
        plain = {"resample": resample, "shuffle": shuffle, "pointwise": pointwise, "norm": norm, "pad": pad}
        return plain[family](self.n)

    def _branches(self, nesting: int) -> Recipes:
        branches = st.lists(up_to(2, self._keeping(nesting - 1)), min_size=2, max_size=3)
        return st.builds(
            self._joined, st.sampled_from([Add, Cat, Multiply]), branches, st.sampled_from(["", "first", "last"])
        )

    def _joined(self, how: type[nn.Module], branches: Sequence[Sequence[Recipe]], kept: str) -> Recipe:
        """kept: of branches side by side, only the channels of the first or the last are used."""

        def recipe(shape: Shape) -> tuple[Call, ...]:
            parts = [_fold(branch, shape) for branch in branches]
            width = parts[0][1][1]
            calls = [
                sequence(calls if how is Cat or out[1] == width else [*calls, Call.of(CONV[self.n], out[1], width, 1)])
                for calls, out in parts
            ]
            ends = {"first": (0, width), "last": (-parts[-1][1][1],)}
            return (Call.of(how, *calls), *([Call.of(Channels, *ends[kept])] if how is Cat and kept else []))

        return recipe

    def _downs(self) -> list[tuple[Callable[..., nn.Module], tuple[Any, ...]]]:
        if 2 not in self.strides:
            return []
        convs = [(CONV[self.n], (3, 2, 1)), (CONV[self.n], (2, 2))] if "conv" in self.families else []
        return [*convs, *([(MAX[self.n], (2,)), (AVG[self.n], (3, 2, 1))] if "pool" in self.families else [])]

    def _ups(self) -> list[Call | tuple[int, ...]]:
        """A call that makes everything twice as large, or the arguments of a transposed convolution that does."""
        found: list[Call | tuple[int, ...]] = []
        if "transposed" in self.families:
            found += [(2, 2), (3, 2, 1), (4, 2, 1)]
        return [*found, *([Call.of(nn.Upsample, scale_factor=2)] if "resample" in self.families else [])]

    def _unet(self, nesting: int) -> Recipes:
        """Down by two, something, up by two, joined with what was there before."""
        return st.builds(
            self._around,
            st.sampled_from(self._downs()),
            up_to(2, self._keeping(nesting - 1)),
            st.sampled_from(self._ups()),
            st.booleans(),
        )

    def _around(
        self,
        down: tuple[Callable[..., nn.Module], tuple[Any, ...]],
        inside: Sequence[Recipe],
        up: Call | tuple[int, ...],
        skip: bool,
    ) -> Recipe:
        def recipe(shape: Shape) -> tuple[Call, ...]:
            c, (maker, figures) = shape[1], down
            first = Call.of(maker, *((c, c) if maker is CONV[self.n] else ()), *figures)
            small = _through([first], shape, shape)
            if small is None:
                return ()
            calls, there = _fold(inside, small)
            last = up if isinstance(up, Call) else Call.of(TCONV[self.n], there[1], c, *up)
            whole = (first, *calls, last)
            return (Call.of(Cat, sequence(whole), Call.of(nn.Identity)),) if skip else whole

        return recipe


def up_to(most: int, layer: Recipes, *, least: int = 0) -> st.SearchStrategy[list[Recipe]]:
    """Up to `most` layers in a row, more often many than few; those that are too many are dropped."""
    return st.lists(layer, min_size=least, max_size=2 * most).map(lambda recipes: recipes[:most])
