"""Resampling: nearest, linear and cubic, by a factor that the net fixes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from math import floor, pi, sin

from ..index import IndexMap, Spans
from .call import Call
from .law import Block, Border, Cause, DimRead, Law, Link, keep
from .registry import rule
from .slab import Slab, Tensor, on_slab

HALF = Fraction(1, 2)
TO_A_SIZE = Block(Cause.RESIZE, "resamples to a size; the net runs at no other size, which would show how")


def _float32(x: float) -> float:
    return float(struct.unpack("f", struct.pack("f", x))[0])


def _factor(call: Call, i: int, n: int, size_in: int, size_out: int) -> tuple[Fraction, bool]:
    """Input samples per output sample, and whether it was taken from sizes.

    torch computes with 1/scale_factor when a scale factor is given, with size_in/size_out otherwise.
    """
    scales = call["scale_factors"]
    if scales is None:
        one = call[("scales_d", "scales_h", "scales_w")[3 - n + i]] if n > 1 else call["scales"]
    else:
        one = scales[i if len(scales) > 1 else 0]
    if one:
        near = Fraction(float(one)).limit_denominator(4096)
        if abs(float(near) - float(one)) <= 1e-6 * float(one):
            return 1 / near, False
    return Fraction(size_in, size_out), True


def _taps(kind: str, factor: Fraction, o: int) -> Spans:
    """Taps of non-zero weight of output o; the sample centres stand at (o + 1/2) * factor - 1/2."""
    if kind == "nearest":
        return Spans.points([floor(o * factor)])
    if kind == "nearest_exact":
        return Spans.points([floor((o + HALF) * factor)])
    centre = (o + HALF) * factor - HALF
    first = floor(centre)
    if centre == first:
        return Spans.points([first])
    return Spans.span(first, first + 2) if kind == "linear" else Spans.span(first - 1, first + 3)


def _smooth_taps(support: int, factor: Fraction, o: int) -> Spans:
    """Antialiasing widens the filter with the factor: taps of non-zero weight around (o + 1/2) * factor.

    Weights are renormalised at the border, so nothing stands beyond it. The cubic and the Lanczos filter, two and three
    samples to a side, are zero at whole numbers other than 0.
    """
    wide = max(factor, Fraction(1))
    centre = (o + HALF) * factor - HALF
    first, last = floor(centre - support * wide), floor(centre + support * wide) + 1
    distances = {j: abs((j - centre) / wide) for j in range(first, last + 1)}
    return Spans.points([j for j, x in distances.items() if x < support and (x == 0 or x.denominator > 1)])


def _copies(kind: str, factor: Fraction, size_out: int, size_in: int) -> bool:
    """Whether torch takes a short cut that the factor does not: where it happens to give as many samples as it takes,
    1.1 times 9, say, it copies; nearest doubles where it gives twice as many."""
    return (size_out == size_in and factor != 1) or (kind == "nearest" and size_out == 2 * size_in and factor != HALF)


def _rounds_exactly(kind: str, factor: Fraction, size_out: int, size_in: int) -> bool:
    """Whether torch's float32 index agrees with the exact one at every output of this image."""
    if kind not in ("nearest", "nearest_exact") or factor.denominator == 1:
        return True
    step = _float32(float(factor))
    shift = 0.5 if kind == "nearest_exact" else 0.0
    exact = HALF if shift else 0
    return all(
        min(size_in - 1, int(_float32(_float32(o + shift) * step))) == min(size_in - 1, floor((o + exact) * factor))
        for o in range(size_out)
    )


def _resampled(call: Call, n: int, taps: Callable[[Fraction, int], Spans], border: Border, rounds: str = "") -> Law:
    """The last n dimensions by `taps(factor, output)`. rounds: the kind whose indices torch computes in float32."""
    x = call.shapes[0]
    dims: dict[int, DimRead] = {}
    by_size: Block | None = None
    for i in range(n):
        d = len(x) - n + i
        factor, guessed = _factor(call, i, n, x[d], call.shape[d])
        reads = IndexMap.from_function(factor.denominator, factor.numerator, partial(taps, factor))
        block = None
        if call["align_corners"]:
            block = Block(Cause.ALIGN_CORNERS, "align_corners=True places samples by the size of the image")
        elif _copies(rounds, factor, call.shape[d], x[d]):
            block = Block(
                Cause.RESIZE, f"resampling by {1 / factor} from {x[d]} to {call.shape[d]} copies samples instead"
            )
        elif not _rounds_exactly(rounds, factor, call.shape[d], x[d]):
            block = Block(Cause.RESIZE, f"resampling by {1 / factor} is rounded unevenly in float32")
        elif guessed:
            by_size = TO_A_SIZE
        dims[d] = DimRead(d, d, reads, border, block)
    return Law((Link(0, keep(len(x), but=dims)),), by_size=by_size)


SUPPORT = {"bilinear": 1, "bicubic": 2, "lanczos": 3}


@rule(*(f"aten::_upsample_{kind}2d_aa" for kind in SUPPORT), sizes=("output_size",))
def smooth(call: Call) -> Law:
    return _resampled(call, 2, partial(_smooth_taps, _support(call.node.op)), Border.CONSTANT)


def _support(op: str) -> int:
    return next(n for kind, n in SUPPORT.items() if kind in op)


@rule(
    *(f"aten::upsample_nearest{n}d" for n in (1, 2, 3)),
    *(f"aten::_upsample_nearest_exact{n}d" for n in (1, 2, 3)),
    "aten::upsample_linear1d",
    "aten::upsample_bilinear2d",
    "aten::upsample_trilinear3d",
    "aten::upsample_bicubic2d",
    sizes=("output_size",),
)
def upsample(call: Call) -> Law:
    kind = _kind(call.node.op)
    return _resampled(call, int(call.node.op[-2]), partial(_taps, kind), Border.REPLICATE, kind)


def _weights(kind: str, factor: Fraction, o: int) -> dict[int, float]:
    """The taps of output o with their weights; the cubic is Keys' with A = -3/4."""
    if kind in ("nearest", "nearest_exact"):
        return dict.fromkeys(_taps(kind, factor, o).indices(), 1.0)
    centre = (o + HALF) * factor - HALF
    first = floor(centre)
    t = centre - first
    if t == 0:
        return {first: 1.0}
    if kind == "linear":
        return {first: float(1 - t), first + 1: float(t)}
    return {first + i: float(_cubic(abs(t - i), Fraction(-3, 4))) for i in (-1, 0, 1, 2)}


def _cubic(x: Fraction, a: Fraction) -> Fraction:
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a


def _smooth_weights(op: str, factor: Fraction, size: int, o: int) -> dict[int, float]:
    """The taps of an antialiased output that lie in the image, with their weights; the cubic's A is -1/2."""
    support = _support(op)
    wide = max(factor, Fraction(1))
    centre = (o + HALF) * factor - HALF
    taps = {
        j: _filter(support, (j - centre) / wide) for j in _smooth_taps(support, factor, o).indices() if 0 <= j < size
    }
    total = sum(taps.values())
    return {j: float(weight / total) for j, weight in taps.items()}


def _filter(support: int, x: Fraction) -> Fraction | float:
    """The triangle, Keys' cubic and the Lanczos filter, by how many samples they reach to a side."""
    if support == 1:
        return 1 - abs(x)
    if support == 2:
        return _cubic(abs(x), Fraction(-1, 2))
    angle = pi * float(x)
    return 1.0 if x == 0 else 3 * sin(angle) * sin(angle / 3) / angle**2


def _kind(op: str) -> str:
    return "cubic" if "cubic" in op else "linear" if "linear" in op else "nearest_exact" if "exact" in op else "nearest"


@on_slab(
    *(f"aten::upsample_nearest{n}d" for n in (1, 2, 3)),
    *(f"aten::_upsample_nearest_exact{n}d" for n in (1, 2, 3)),
    "aten::upsample_linear1d",
    "aten::upsample_bilinear2d",
    "aten::upsample_trilinear3d",
    "aten::upsample_bicubic2d",
)
def upsample_on_slab(slab: Slab) -> Tensor:
    """Axis by axis, with the weights of the whole image: at a cut nothing is clamped."""
    kind = _kind(slab.call.node.op)
    return _on_slab(slab, int(slab.call.node.op[-2]), "replicate", lambda factor, size: partial(_weights, kind, factor))


@on_slab(*(f"aten::_upsample_{kind}2d_aa" for kind in SUPPORT))
def smooth_on_slab(slab: Slab) -> Tensor:
    """The same; at the image's own ends the weights are those of the taps that are left."""
    return _on_slab(slab, 2, 0.0, partial(partial, _smooth_weights, slab.call.node.op))


def _on_slab(
    slab: Slab, n: int, fill: float | str, weights: Callable[[Fraction, int], Callable[[int], dict[int, float]]]
) -> Tensor:
    """The last n dimensions, each by `weights(factor, size)` of its outputs."""
    call = slab.call
    x, rank = call.shapes[0], len(call.shape)
    y = slab.fetch(fill=fill)
    for i in range(n):
        d = rank - n + i
        factor, _ = _factor(call, i, n, x[d], call.shape[d])
        y = slab.resampled(y, d, slab.begins(0, d), weights(factor, x[d]))
    return y
