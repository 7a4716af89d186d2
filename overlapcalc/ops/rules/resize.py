"""Resampling: nearest, linear and cubic, by a factor that the net fixes.

A factor that is a fraction up to rounding has a periodic law, and what torch computes in float32 and in float64 must
follow that law at every output. With any other factor, outputs lie differently from period to period.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from math import floor

from ...algebra.index_map import IndexMap
from ...algebra.spans import EMPTY, Span, Spans
from ..border import Border
from ..call import Call
from ..facts import describe
from ..graph import Data
from ..kind import Kind
from ..law import Cause, DimRead, Law, Link, Obstruction, keep
from ..positions import (
    HALF,
    STEADY,
    Rounding,
    SamplingStep,
    centre,
    cubic,
    double,
    exact_centre,
    tidy,
    wide_filter,
)
from ..registry import rule
from ..sampled import NEAREST, copies, parted, table_here, uneven, weights_here
from ..slab import Slab, Tensor, on_slab

TO_A_SIZE = Obstruction(
    Cause.RESIZE, "resamples to a size; the net runs at no other size that was tried, which would show how"
)
ONE_COLUMN = Obstruction(
    Cause.RESIZE, "torch reads the wrong rows where an image is one sample wide behind antialiasing"
)
"""*Measured*, torch 2.13: F.interpolate(x[..., :1], scale_factor=(2.0, 1.0), antialias=True) repeats the first row."""
SUPPORT = {"bilinear": 1, "bicubic": 2, "lanczos": 3}
ANTIALIASED = tuple(f"aten::_upsample_{kind}2d_aa" for kind in SUPPORT)
WORDS = {
    **{f"aten::upsample_nearest{n}d": "nearest" for n in (1, 2, 3)},
    **{f"aten::_upsample_nearest_exact{n}d": "nearest-exact" for n in (1, 2, 3)},
    "aten::upsample_linear1d": "linear",
    "aten::upsample_bilinear2d": "bilinear",
    "aten::upsample_trilinear3d": "trilinear",
    "aten::upsample_bicubic2d": "bicubic",
}
for op, word in WORDS.items():
    describe(op, kind=Kind.RESIZE, word=word, zero_weights="nearest" not in word)
describe(*ANTIALIASED, kind=Kind.RESIZE, zero_weights=True)


@dataclass(frozen=True)
class Taps:
    """What one output reads. noise: samples that get a weight only because torch rounds."""

    real: Spans
    noise: Spans = EMPTY

    @property
    def every(self) -> Spans:
        return self.real | self.noise


TapsOf = Callable[[SamplingStep, Fraction, int], Taps]


def _step(call: Call, i: int, n: int) -> SamplingStep:
    """The step along the i-th of the n resampled dimensions."""
    scales, d = call["scale_factors"], len(call.shape) - n + i
    if scales is None:
        one = call[("scales_d", "scales_h", "scales_w")[3 - n + i]] if n > 1 else call["scales"]
    else:
        one = scales[i if len(scales) > 1 else 0]
    return SamplingStep(float(one) if one and one > 0 else None, call.shapes[0][d], call.shape[d])


# ---- what an output reads ------------------------------------------------------------------------------------------


def _nearest_taps(kind: str, step: SamplingStep, factor: Fraction, o: int) -> Taps:
    return Taps(Spans.points([floor((o + HALF if kind == "nearest_exact" else o) * factor)]))


def _taps(kind: str, step: SamplingStep, factor: Fraction, o: int) -> Taps:
    """Linear and cubic. Where a step that is rounded up drifts past a sample, the samples beyond get weights too."""
    at = exact_centre(factor, o)
    first = floor(at)
    around = Spans.span(first, first + 2) if kind == "linear" else Spans.span(first - 1, first + 3)
    if at != first:
        return Taps(around)
    return Taps(Spans.points([first]), around if step.drift > STEADY else EMPTY)


def _smooth_taps(reach: int, step: SamplingStep, factor: Fraction, o: int) -> Taps:
    """Antialiasing widens the filter with the factor: taps of non-zero weight around the centre.

    Weights are renormalised at the border, so nothing beyond it is read. The cubic and the Lanczos filter are zero at
    all whole numbers but 0, and every filter is zero at its ends; there torch may be left with rounding errors.
    """
    wide = max(factor, Fraction(1))
    at = exact_centre(factor, o)
    distances = {j: abs(j - at) / wide for j in range(floor(at - reach * wide), floor(at + reach * wide) + 2)}
    real = [j for j, x in distances.items() if x < reach and (x == 0 or x.denominator > 1)]
    zero = [j for j, x in distances.items() if 0 < x <= reach and x.denominator == 1]
    if step.drift == 0 or (factor < 1 and abs(step.drift) <= STEADY):  # the distances in samples are exact
        inverse = 1 / step.rounded(double) if factor > 1 else 1.0
        zero = [j for j in zero if wide_filter(reach, float(abs(j - at)) * inverse)]
    return Taps(Spans.points(real), Spans.points(zero))


# ---- laws ----------------------------------------------------------------------------------------------------------


def _resampled(call: Call, n: int, kind: str, taps: TapsOf, border: Border) -> Law:
    """The last n dimensions by `taps(step, factor, output)`."""
    rank = len(call.shape)
    dims: dict[int, DimRead] = {}
    by_size: Obstruction | None = None
    exact = True
    for i in range(n):
        d, step = rank - n + i, _step(call, i, n)
        why = _obstruction(call, kind, step)
        here = None if why is None else partial(table_here, kind, step, bool(call["align_corners"]))
        if step.fraction is None or _only_here(step):
            dims[d] = DimRead(d, d, None, obstruction=why, here=here)
            continue
        phases = [taps(step, step.fraction, o) for o in range(step.fraction.denominator)]
        exact = exact and not any(phase.noise for phase in phases)
        reads = IndexMap(len(phases), step.fraction.numerator, tuple(phase.every for phase in phases))
        dims[d] = DimRead(d, d, reads, border, why, here=here)
        if why is None and not step.given:
            by_size = TO_A_SIZE
    return Law((Link(0, keep(rank, but=dims), exact=exact),), by_size=by_size)


def _only_here(step: SamplingStep) -> bool:
    """Whether a factor is taken from sizes and does not repeat within this one: 32 samples to 65, as an odd image gives
    them that was halved before. Images that are longer by many times that, the next of its kind, have too many
    samples."""
    if step.given or step.fraction is None:
        return False
    return step.fraction.denominator > FEW and 2 * step.fraction.denominator > step.size_out


FEW = 8
"""A period of so few samples counts, however short the image."""


def _obstruction(call: Call, kind: str, step: SamplingStep) -> Obstruction | None:
    """The obstruction along one dimension at this size, if any."""
    if call["align_corners"]:
        return Obstruction(Cause.ALIGN_CORNERS, "align_corners=True places samples by the size of the image")
    if step.fraction is None:
        return Obstruction(Cause.FACTOR, uneven(kind, step))
    if _only_here(step):
        said = f"resamples {step.size_in} samples to {step.size_out}, by no factor that other sizes have"
        return Obstruction(Cause.RESIZE, said)
    if copies(kind, step):
        return Obstruction(
            Cause.RESIZE,
            f"resampling by {1 / step.fraction} from {step.size_in} to {step.size_out} copies samples instead",
        )
    if kind == "smooth":
        return None
    apart = parted(kind, step, step.fraction)
    unevenly = f"resampling by {1 / step.fraction} is rounded unevenly: {apart}"
    return None if apart is None else Obstruction(Cause.FACTOR, unevenly)


@rule(*ANTIALIASED, sizes=("output_size",))
def smooth(call: Call) -> Law:
    law = _resampled(call, 2, "smooth", partial(_smooth_taps, _support(call.node.op)), Border.CONSTANT)
    rows, columns = (_step(call, i, 2) for i in range(2))
    if columns.size_out > 1 or rows.size_in == rows.size_out:
        return law
    here = [replace(dim, obstruction=dim.obstruction or ONE_COLUMN) for dim in law.links[0].dims[-2:]]
    return replace(law, links=(replace(law.links[0], dims=(*law.links[0].dims[:-2], *here)),))


def _support(op: str) -> int:
    return next(n for kind, n in SUPPORT.items() if kind in op)


@rule(*WORDS, sizes=("output_size",))
def upsample(call: Call) -> Law:
    kind = _kind(call.node.op)
    taps = partial(_nearest_taps if kind in NEAREST else _taps, kind)
    return _resampled(call, int(call.node.op[-2]), kind, taps, Border.REPLICATE)


def _kind(op: str) -> str:
    return "cubic" if "cubic" in op else "linear" if "linear" in op else "nearest_exact" if "exact" in op else "nearest"


# ---- on slabs ------------------------------------------------------------------------------------------------------

WeightsOf = Callable[[SamplingStep, Fraction, Rounding, int], Mapping[int, float]]
"""The taps of an output, with the weights that a kernel of some type gives them."""


def _weights(kind: str, step: SamplingStep, factor: Fraction, to: Rounding, o: int) -> Mapping[int, float]:
    """The cubic is Keys' with A = -3/4. Where the centre is that of a sample, torch's rounding errors are left out.
    Beyond its ends the image repeats its last sample, whose weights are added up."""
    taps = _nearest_taps(kind, step, factor, o) if kind in NEAREST else _taps(kind, step, factor, o)
    first = floor(exact_centre(factor, o))
    t = min(max(centre(step.rounded(to), o, to) - first, 0.0), 1.0)
    read = list(taps.real.indices())
    weights: dict[int, float] = {}
    for j in read:
        away = abs(t - (j - first))
        weight = 1.0 if len(read) == 1 else 1 - away if kind == "linear" else cubic(away, -0.75)
        inside = min(max(j, 0), step.size_in - 1)
        weights[inside] = weights.get(inside, 0.0) + weight
    return {j: tidy(weight) for j, weight in weights.items()}


def _smooth_weights(
    reach: int, size: int, step: SamplingStep, factor: Fraction, to: Rounding, o: int
) -> Mapping[int, float]:
    """The weights of the taps that lie in the image."""
    rounded = step.rounded(to)
    at, inverse = to(rounded * (o + 0.5)), to(1 / max(rounded, 1.0))
    inside = _smooth_taps(reach, step, factor, o).real.clip(0, size)
    taps = {j: wide_filter(reach, (j - at + 0.5) * inverse) for j in inside.indices()}
    total = sum(taps.values())
    return {j: tidy(weight / total) for j, weight in taps.items()}


@on_slab(*WORDS)
def upsample_on_slab(slab: Slab) -> Tensor:
    """Axis by axis, with the weights of the whole image: at a cut nothing is clamped."""
    weights = partial(_weights, _kind(slab.call.node.op))
    return _on_slab(slab, int(slab.call.node.op[-2]), "replicate", lambda size: weights)


@on_slab(*ANTIALIASED)
def smooth_on_slab(slab: Slab) -> Tensor:
    """The same; at the image's own ends the weights are those of the taps that remain."""
    return _on_slab(slab, 2, 0.0, partial(partial, _smooth_weights, _support(slab.call.node.op)))


def _on_slab(slab: Slab, n: int, fill: float | str, weights: Callable[[int], WeightsOf]) -> Tensor:
    """The last n dimensions, each resampled with `weights(size)`; the whole image by the operator itself."""
    call, first = slab.call, len(slab.call.shape) - n
    sizes = dict(enumerate(call.shapes[0][first:], first))
    if all(slab.is_whole(0, d) for d in sizes):
        operand = next(name for name, value in call.node.args.items() if isinstance(value, Data))
        return slab.run(**{operand: slab.fetch(spans={d: Span(0, size) for d, size in sizes.items()})})
    y, here = _fetched(slab, n, fill)
    for d, size in sizes.items():
        step = _step(call, d - first, n)
        if d in here:
            y = slab.resampled(y, d, 0, lambda o, taps=here[d]: taps[o])  # type: ignore[misc]
            continue
        if step.fraction is None:
            raise slab.none("resamples by a factor that is no fraction")
        if size == 1 and y.shape[d] == 1:  # the weights add up to one; it may lie along no axis, such as a mean
            y = y.expand([*y.shape[:d], slab.shape[d], *y.shape[d + 1 :]])
            continue
        y = slab.resampled(y, d, slab.begins(0, d), partial(weights(size), step, step.fraction, slab.rounding(y)))
    return y


def _fetched(slab: Slab, n: int, fill: float | str) -> tuple[Tensor, dict[int, dict[int, Mapping[int, float]]]]:
    """What the region reads; and for dimensions without a law at every size the weights of each output, of samples
    counted among those fetched."""
    call, first = slab.call, len(slab.call.shape) - n
    kind = "smooth" if call.node.op in ANTIALIASED else _kind(call.node.op)
    aligned = bool(call["align_corners"])
    places: dict[int, list[int]] = {}
    weights: dict[int, dict[int, Mapping[int, float]]] = {}
    to = slab.rounding(slab.fetch(fill=fill))
    for d in range(first, first + n):
        step = _step(call, d - first, n)
        if _obstruction(call, kind, step) is None:
            continue
        if table_here(kind, step, aligned) is None:
            raise slab.none("resamples in a way that depends on the type, or by a factor that is no fraction")
        weights[d] = {o: weights_here(kind, step, aligned, to, o) for o in range(*(slab.span(d) or (0, step.size_out)))}
        places[d] = sorted({j for taps in weights[d].values() for j in taps})
        rank = {j: i for i, j in enumerate(places[d])}
        weights[d] = {o: {rank[j]: w for j, w in taps.items()} for o, taps in weights[d].items()}
    return slab.picked(places, fill=fill), weights
