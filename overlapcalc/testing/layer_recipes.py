"""Recipes of single layers, one function per family; see recipes.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st
from torch import nn

from .by_axes import AVG, CONV, MAX, NORM, TCONV
from .modules import GDN, ChannelNorm, Gate, Mirror, Slice, Whole
from .nets import Call

Shape = tuple[int, ...]
Recipe = Callable[[Shape], tuple[Call, ...]]
"""The shape so far -> what to append; nothing where the layer does not fit."""
Recipes = st.SearchStrategy[Recipe]
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
PADS = {
    1: (nn.ZeroPad1d, nn.ReflectionPad1d, nn.ReplicationPad1d),
    2: (nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d),
    3: (nn.ZeroPad3d, nn.ReflectionPad3d, nn.ReplicationPad3d),
}


def nothing(shape: Shape) -> tuple[Call, ...]:
    return ()


def always(call: Call) -> Recipe:
    return lambda shape: (call,)


def _sides(n: int, values: Sequence[int]) -> st.SearchStrategy[int | tuple[int, ...]]:
    """One number for all axes, or one for each."""
    one = st.sampled_from(list(values))
    return one if n == 1 else st.one_of(one, st.tuples(*[one] * n).map(_plain))


def _each(value: int | tuple[int, ...], n: int) -> tuple[int, ...]:
    return (value,) * n if isinstance(value, int) else value


def _plain(value: tuple[int, ...]) -> int | tuple[int, ...]:
    """One number where all are equal."""
    return value[0] if len(set(value)) == 1 else value


def _given(**figures: Any) -> dict[str, Any]:
    """Arguments without those at their default, so that nets print short."""
    usual = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1, "bias": True,
             "padding_mode": "zeros", "ceil_mode": False, "count_include_pad": True}  # fmt: skip
    return {name: value for name, value in figures.items() if usual[name] != value}


def _common(c: int, out: int, wanted: int) -> int:
    """The wanted groups where they divide the channels on both sides, else 1."""
    return wanted if c % wanted == 0 and out % wanted == 0 else 1


@st.composite
def conv(draw: st.DrawFn, n: int, strides: Sequence[int]) -> Recipe:
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
def transposed(draw: st.DrawFn, n: int, strides: Sequence[int]) -> Recipe:
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
def pool(draw: st.DrawFn, n: int, strides: Sequence[int]) -> Recipe:
    kernel, stride = draw(_sides(n, (2, 3, 4))), draw(_sides(n, strides))
    padding, ceil = draw(st.integers(0, min(_each(kernel, n)) // 2)), draw(st.booleans())
    figures = _given(padding=padding, ceil_mode=ceil)
    if draw(st.booleans()):
        more = _given(count_include_pad=draw(st.sampled_from([True, False])))
        return always(Call.of(AVG[n], kernel, stride, **figures, **more))
    return always(Call.of(MAX[n], kernel, stride, **figures, **_given(dilation=draw(st.sampled_from([1, 1, 2])))))


def resample(n: int) -> Recipes:
    nearest = [Call.of(nn.Upsample, scale_factor=r) for r in (2, 3)]
    linear = [Call.of(nn.Upsample, scale_factor=r, mode=LINEAR[n]) for r in (2, 0.5, 1.5, 3, 0.75)]
    return st.sampled_from([*nearest, *linear]).map(always)


def shuffle(n: int) -> Recipes:
    def wider(shape: Shape) -> tuple[Call, ...]:
        more = () if shape[1] % 4 == 0 else (Call.of(CONV[n], shape[1], 4, 1),)
        return (*more, Call.of(nn.PixelShuffle, 2))

    def deeper(shape: Shape) -> tuple[Call, ...]:
        fewer = () if 4 * shape[1] <= MOST_CHANNELS else (Call.of(CONV[n], shape[1], 1, 1),)
        return (*fewer, Call.of(Whole, 2), Call.of(nn.PixelUnshuffle, 2))

    return st.sampled_from([wider, deeper])


def pointwise(n: int) -> Recipes:
    plain = [nn.ReLU, nn.Sigmoid, nn.GELU, nn.SiLU, nn.Hardswish, nn.Dropout]
    calls = [*(Call.of(maker) for maker in plain), Call.of(nn.LeakyReLU, 0.3)]

    def per_channel(shape: Shape) -> tuple[Call, ...]:
        return (Call.of(nn.PReLU, shape[1]),)

    return st.one_of(st.sampled_from(calls).map(always), st.just(per_channel))


def norm(n: int) -> Recipes:
    return st.sampled_from([NORM[n], GDN, ChannelNorm, nn.Softmax, nn.ChannelShuffle]).map(_normed)


def _normed(maker: Callable[..., nn.Module]) -> Recipe:
    def recipe(shape: Shape) -> tuple[Call, ...]:
        if maker is nn.ChannelShuffle:
            groups = next((g for g in (2, 3) if shape[1] % g == 0), 1)
            return (Call.of(maker, groups),)
        if maker in (ChannelNorm, nn.Softmax) and shape[1] == 1:
            return ()  # over one channel the result is a constant, which reads nothing
        return (Call.of(nn.Softmax, 1),) if maker is nn.Softmax else (Call.of(maker, shape[1]),)

    return recipe


@st.composite
def pad(draw: st.DrawFn, n: int) -> Recipe:
    zeros, *others = PADS[n]
    kind = draw(st.sampled_from([zeros, Slice, *others]))
    if kind is Slice:
        start, stop, step = draw(st.integers(0, 3)), draw(st.sampled_from([None, -1, -3])), draw(st.integers(1, 3))
        figures = (start, stop, step) if step > 1 else (start, stop) if stop is not None else (start,)
        return always(Call.of(Slice, *figures))
    low = -2 if kind is zeros else 0
    one = st.integers(low, 3)
    return always(Call.of(kind, draw(st.one_of(one, st.tuples(*[one] * (2 * n)).map(_plain)))))


def obstacle(n: int) -> Recipes:
    """One operator that makes exact block-wise running impossible."""

    def circular(shape: Shape) -> tuple[Call, ...]:
        return (Call.of(CONV[n], shape[1], shape[1], 3, padding=1, padding_mode="circular"),)

    def group(shape: Shape) -> tuple[Call, ...]:
        return (Call.of(nn.GroupNorm, 1, shape[1]),)

    def corners(shape: Shape) -> tuple[Call, ...]:
        return (Call.of(nn.Upsample, scale_factor=2, mode=LINEAR[n], align_corners=True),)

    return st.sampled_from(
        [group, circular, corners, *map(always, (Call.of(Gate), Call.of(Mirror), Call.of(nn.Softmax, -1)))]
    )


MOST_CHANNELS = 12
