"""What drawn nets are made of: recipes, and how a row of them becomes a net.

A recipe says what it appends to the net so far, given the shape that the net gives on its least image. Lists of recipes
shrink by leaving out elements, and each recipe to its plainest form, so a failing net shrinks to the few layers that
matter. What does not run on the least image is left out, not retried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st
from torch import nn

from ..errors import InputError
from .modules import GDN, Add, Cat, ChannelNorm, Channels, Gate, Mirror, Multiply, Slice, Whole
from .nets import Call, through

FAMILIES = ("conv", "transposed", "pool", "resample", "shuffle", "pointwise", "norm", "pad")
"""What `cnns(families=...)` knows: convolutions; transposed ones; max and average pooling; nearest and linear
resampling; pixel shuffle and unshuffle (along H and W only); pointwise functions; batch norm, GDN, norms and shuffles
of channels; pads and slices."""
SHARES = {
    "conv": 4, "transposed": 2, "pool": 2, "resample": 2, "shuffle": 1, "pointwise": 1, "norm": 1, "pad": 3
}  # fmt: skip
"""How often each is drawn against the others: those that read beyond their own place more often."""
KEEPING = ("conv", "transposed", "pool", "pointwise", "norm")
"""Families that keep the scale at stride 1."""
MOST_GROWTH = 4
"""No tensor of a net has so many times more samples a side than the image."""
MOST_CHANNELS = 12
NESTED = 2

Shape = tuple[int, ...]
Recipe = Callable[[Shape], tuple[Call, ...]]
"""The shape of what there is -> what to append, nothing where it does not fit."""
Recipes = st.SearchStrategy[Recipe]

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TCONV = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
MAX = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVG = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
PADS = {
    1: (nn.ZeroPad1d, nn.ReflectionPad1d, nn.ReplicationPad1d),
    2: (nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d),
    3: (nn.ZeroPad3d, nn.ReflectionPad3d, nn.ReplicationPad3d),
}


# ---- from recipes to a net --------------------------------------------------------------------------------


def _fold(recipes: Sequence[Recipe], shape: Shape, image: Shape | None = None) -> tuple[list[Call], Shape]:
    """The calls of all recipes that fit, in a row, and what shape they give. image: of the net, `shape` when absent."""
    calls: list[Call] = []
    here = shape
    for recipe in recipes:
        more = recipe(here)
        there = _through(more, here, image or shape) if more else None
        if there is not None:
            calls, here = [*calls, *more], there
    return calls, here


def with_all(recipes: Sequence[Recipe], image: Shape, required: Sequence[Recipe]) -> list[Call]:
    """The same with every required recipe: without the others, where these leave too little. Raises InputError."""
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
    """What modules in a row give of a tensor of this shape; None where they do not run, or give nothing or too much."""
    try:
        net = sequence(calls).build().double().eval()
    except (RuntimeError, ValueError):  # torch's constructors refuse, say, a padding that makes no sense
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


def _nothing(shape: Shape) -> tuple[Call, ...]:
    return ()


def _always(call: Call) -> Recipe:
    return lambda shape: (call,)


# ---- recipes ----------------------------------------------------------------------------------------------


class Kinds:
    """The recipes of the families asked for, along n axes."""

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
        return st.one_of(kinds or [st.just(_nothing)])

    def _family(self, family: str, strides: Sequence[int]) -> Recipes:
        if family == "conv":
            return _conv(self.n, strides)
        if family == "transposed":
            return _transposed(self.n, strides)
        if family == "pool":
            return _pool(self.n, strides)
        plain = {"resample": _resample, "shuffle": _shuffle, "pointwise": _pointwise, "norm": _norm, "pad": _pad}
        return plain[family](self.n)

    def _branches(self, nesting: int) -> Recipes:
        branches = st.lists(up_to(2, self._keeping(nesting - 1)), min_size=2, max_size=3)
        return st.builds(
            self._joined, st.sampled_from([Add, Cat, Multiply]), branches, st.sampled_from(["", "first", "last"])
        )

    def _joined(self, how: type[nn.Module], branches: Sequence[Sequence[Recipe]], kept: str) -> Recipe:
        """kept: of branches side by side, only the channels of the first or the last go on."""

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
        """A call that makes everything twice as large, or the figures of a transposed convolution that does."""
        found: list[Call | tuple[int, ...]] = []
        if "transposed" in self.families:
            found += [(2, 2), (3, 2, 1), (4, 2, 1)]
        return [*found, *([Call.of(nn.Upsample, scale_factor=2)] if "resample" in self.families else [])]

    def _unet(self, nesting: int) -> Recipes:
        """By two down, something, by two up, beside what there was."""
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
    """So many layers in a row, more often many than few: what is too much is left away."""
    return st.lists(layer, min_size=least, max_size=2 * most).map(lambda recipes: recipes[:most])


def _sides(n: int, values: Sequence[int]) -> st.SearchStrategy[int | tuple[int, ...]]:
    """One number for all axes, or one for each."""
    one = st.sampled_from(list(values))
    return one if n == 1 else st.one_of(one, st.tuples(*[one] * n).map(_plain))


def _each(value: int | tuple[int, ...], n: int) -> tuple[int, ...]:
    return (value,) * n if isinstance(value, int) else value


def _plain(value: tuple[int, ...]) -> int | tuple[int, ...]:
    """One number where all are the same."""
    return value[0] if len(set(value)) == 1 else value


def _given(**figures: Any) -> dict[str, Any]:
    """Arguments without those at their usual value, so that nets print short."""
    usual = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1, "bias": True,
             "padding_mode": "zeros", "ceil_mode": False, "count_include_pad": True}  # fmt: skip
    return {name: value for name, value in figures.items() if usual[name] != value}


def _common(c: int, out: int, wanted: int) -> int:
    """The groups asked for where they divide the channels on both sides, else 1."""
    return wanted if c % wanted == 0 and out % wanted == 0 else 1


@st.composite
def _conv(draw: st.DrawFn, n: int, strides: Sequence[int]) -> Recipe:
    kernel, stride = draw(_sides(n, (1, 3, 2, 4, 5))), draw(_sides(n, strides))
    dilation = draw(_sides(n, (1, 1, 2, 3)))
    extents = [d * (k - 1) for k, d in zip(_each(kernel, n), _each(dilation, n), strict=True)]
    padding = draw(st.one_of(st.just(0), st.just(_plain(tuple(e // 2 for e in extents))), st.integers(1, 4)))
    out, wanted, bias = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 3])), draw(st.sampled_from([True, False]))
    mode = draw(st.sampled_from(["zeros", "reflect", "replicate"]))
    figures = _given(
        stride=stride, padding=padding, dilation=dilation, bias=bias, padding_mode=mode if padding != 0 else "zeros"
    )

    def recipe(shape: Shape) -> tuple[Call, ...]:
        groups = _given(groups=_common(shape[1], out, wanted))
        return (Call.of(CONV[n], shape[1], out, kernel, **figures, **groups),)

    return recipe


@st.composite
def _transposed(draw: st.DrawFn, n: int, strides: Sequence[int]) -> Recipe:
    kernel, stride = draw(_sides(n, (2, 3, 4, 5, 1))), draw(_sides(n, strides))
    dilation = draw(st.sampled_from([1, 1, 2]))
    least = min(_each(kernel, n))
    padding = draw(st.integers(0, dilation * (least - 1) // 2))
    more = draw(st.integers(0, max(*_each(stride, n), dilation, 1) - 1))
    out, wanted = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 3]))
    figures = _given(stride=stride, padding=padding, output_padding=more, dilation=dilation)

    def recipe(shape: Shape) -> tuple[Call, ...]:
        groups = _given(groups=_common(shape[1], out, wanted))
        return (Call.of(TCONV[n], shape[1], out, kernel, **figures, **groups),)

    return recipe


@st.composite
def _pool(draw: st.DrawFn, n: int, strides: Sequence[int]) -> Recipe:
    kernel, stride = draw(_sides(n, (2, 3, 4))), draw(_sides(n, strides))
    padding, ceil = draw(st.integers(0, min(_each(kernel, n)) // 2)), draw(st.booleans())
    figures = _given(padding=padding, ceil_mode=ceil)
    if draw(st.booleans()):
        more = _given(count_include_pad=draw(st.sampled_from([True, False])))
        return _always(Call.of(AVG[n], kernel, stride, **figures, **more))
    return _always(Call.of(MAX[n], kernel, stride, **figures, **_given(dilation=draw(st.sampled_from([1, 1, 2])))))


def _resample(n: int) -> Recipes:
    nearest = [Call.of(nn.Upsample, scale_factor=r) for r in (2, 3)]
    linear = [Call.of(nn.Upsample, scale_factor=r, mode=LINEAR[n]) for r in (2, 0.5, 1.5, 3, 0.75)]
    return st.sampled_from([*nearest, *linear]).map(_always)


def _shuffle(n: int) -> Recipes:
    def wider(shape: Shape) -> tuple[Call, ...]:
        more = () if shape[1] % 4 == 0 else (Call.of(CONV[n], shape[1], 4, 1),)
        return (*more, Call.of(nn.PixelShuffle, 2))

    def deeper(shape: Shape) -> tuple[Call, ...]:
        fewer = () if 4 * shape[1] <= MOST_CHANNELS else (Call.of(CONV[n], shape[1], 1, 1),)
        return (*fewer, Call.of(Whole, 2), Call.of(nn.PixelUnshuffle, 2))

    return st.sampled_from([wider, deeper])


def _pointwise(n: int) -> Recipes:
    plain = [nn.ReLU, nn.Sigmoid, nn.GELU, nn.SiLU, nn.Hardswish, nn.Dropout]
    calls = [*(Call.of(maker) for maker in plain), Call.of(nn.LeakyReLU, 0.3)]

    def per_channel(shape: Shape) -> tuple[Call, ...]:
        return (Call.of(nn.PReLU, shape[1]),)

    return st.one_of(st.sampled_from(calls).map(_always), st.just(per_channel))


def _norm(n: int) -> Recipes:
    return st.sampled_from([NORM[n], GDN, ChannelNorm, nn.Softmax, nn.ChannelShuffle]).map(_normed)


def _normed(maker: Callable[..., nn.Module]) -> Recipe:
    def recipe(shape: Shape) -> tuple[Call, ...]:
        if maker is nn.ChannelShuffle:
            groups = next((g for g in (2, 3) if shape[1] % g == 0), 1)
            return (Call.of(maker, groups),)
        if maker in (ChannelNorm, nn.Softmax) and shape[1] == 1:
            return ()  # over one channel they give a constant, which reads nothing
        return (Call.of(nn.Softmax, 1),) if maker is nn.Softmax else (Call.of(maker, shape[1]),)

    return recipe


@st.composite
def _pad(draw: st.DrawFn, n: int) -> Recipe:
    zeros, *others = PADS[n]
    kind = draw(st.sampled_from([zeros, Slice, *others]))
    if kind is Slice:
        start, stop, step = draw(st.integers(0, 3)), draw(st.sampled_from([None, -1, -3])), draw(st.integers(1, 3))
        figures = (start, stop, step) if step > 1 else (start, stop) if stop is not None else (start,)
        return _always(Call.of(Slice, *figures))
    low = -2 if kind is zeros else 0
    one = st.integers(low, 3)
    return _always(Call.of(kind, draw(st.one_of(one, st.tuples(*[one] * (2 * n)).map(_plain)))))


def obstacle(n: int) -> Recipes:
    """One operator that makes exact block-wise running impossible."""

    def circular(shape: Shape) -> tuple[Call, ...]:
        return (Call.of(CONV[n], shape[1], shape[1], 3, padding=1, padding_mode="circular"),)

    def group(shape: Shape) -> tuple[Call, ...]:
        return (Call.of(nn.GroupNorm, 1, shape[1]),)

    def corners(shape: Shape) -> tuple[Call, ...]:
        return (Call.of(nn.Upsample, scale_factor=2, mode=LINEAR[n], align_corners=True),)

    return st.sampled_from(
        [group, circular, corners, *map(_always, (Call.of(Gate), Call.of(Mirror), Call.of(nn.Softmax, -1)))]
    )
