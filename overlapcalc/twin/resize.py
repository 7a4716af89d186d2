"""Linear and cubic resampling: exact rational weights, as residues.

The weights are torch's (aten/src/ATen/native/UpSample.h): source position `step * (o + 1/2) - 1/2`, or `step * o`
with align_corners; linear clips it at 0, cubic (A = -3/4) clamps its four taps; antialiased filters widen with the
step and are normalised, their cubic has A = -1/2.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import floor

import torch
from torch import Tensor

from .call import Call
from .field import PRIME, mod, of_fraction
from .registry import twin

Weights = dict[int, Fraction]
"""Of one output sample: per input sample, its weight."""

HALF = Fraction(1, 2)
LARGEST_DENOMINATOR = 4096


def _step(call: Call, size: int, outputs: int, scale: float | None) -> Fraction:
    """Input samples per output sample, as torch takes it: from the factor where one was given, else from the sizes."""
    if call["align_corners"]:
        return Fraction(size - 1, outputs - 1) if outputs > 1 else Fraction(0)
    if scale is None or scale <= 0:
        return Fraction(size, outputs)
    step = Fraction(1 / scale).limit_denominator(LARGEST_DENOMINATOR)
    if step == 0 or abs(float(step) - 1 / scale) > 1e-15 / scale * 4:
        raise call.refused(
            f"factor {scale}, whose inverse is no fraction with a denominator up to {LARGEST_DENOMINATOR}"
        )
    return step


def _source(call: Call, step: Fraction, o: int) -> Fraction:
    return step * o if call["align_corners"] else step * (o + HALF) - HALF


def _linear(call: Call, step: Fraction, o: int, size: int) -> Weights:
    at = max(_source(call, step, o), Fraction(0))
    low = min(floor(at), size - 1)
    part = min(at - low, Fraction(1))
    return _gathered([(low, 1 - part), (min(low + 1, size - 1), part)])


def _cubic(call: Call, step: Fraction, o: int, size: int) -> Weights:
    at = _source(call, step, o)
    low = floor(at)
    taps = [(low + i, _cubic_filter(at - low - i, Fraction(-3, 4))) for i in range(-1, 3)]
    return _gathered([(min(max(i, 0), size - 1), w) for i, w in taps])


def _cubic_filter(x: Fraction, a: Fraction) -> Fraction:
    x = abs(x)
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else Fraction(0)


def _antialiased(reach: int, kernel: Callable[[Fraction], Fraction]) -> Callable[[Call, Fraction, int, int], Weights]:
    def weights(call: Call, step: Fraction, o: int, size: int) -> Weights:
        wide = max(step, Fraction(1))
        centre = step * (o + HALF)
        start = max(floor(centre - reach * wide + HALF), 0)
        stop = min(floor(centre + reach * wide + HALF), size)
        taps = [(i, kernel((i - centre + HALF) / wide)) for i in range(start, stop)]
        total = sum((w for _, w in taps), Fraction(0))
        return {i: w / total for i, w in taps}

    return weights


def _gathered(taps: list[tuple[int, Fraction]]) -> Weights:
    weights: Weights = {}
    for i, w in taps:
        weights[i] = weights.get(i, Fraction(0)) + w
    return weights


KINDS: dict[str, Callable[[Call, Fraction, int, int], Weights]] = {
    "upsample_linear1d": _linear,
    "upsample_bilinear2d": _linear,
    "upsample_trilinear3d": _linear,
    "upsample_bicubic2d": _cubic,
    "_upsample_bilinear2d_aa": _antialiased(1, lambda x: max(1 - abs(x), Fraction(0))),
    "_upsample_bicubic2d_aa": _antialiased(2, lambda x: _cubic_filter(x, -HALF)),
}


@twin(*KINDS)
def resampled(call: Call) -> Tensor:
    x, sizes = call.tensor("input" if "input" in call.values else "self"), call["output_size"]
    if sizes is None or call["scale_factors"] is not None:
        raise call.refused("a factor where the size was expected")
    names = ["scales"] if len(sizes) == 1 else ["scales_d", "scales_h", "scales_w"][3 - len(sizes) :]
    for i, (outputs, name) in enumerate(zip(sizes, names, strict=True)):
        d = x.dim() - len(sizes) + i
        size = x.shape[d]
        if size == outputs and call[name] in (None, 1.0):
            continue
        step = _step(call, size, outputs, call[name])
        rows = [KINDS[call.name](call, step, o, size) for o in range(outputs)]
        x = _combined(call, x, d, rows)
    return x.clone() if x is call["input"] or x is call["self"] else x


def _combined(call: Call, x: Tensor, d: int, rows: list[Weights]) -> Tensor:
    """The weighted sums along one dimension. A weight of zero is not a tap."""
    taps = [[(i, w) for i, w in sorted(row.items()) if w] or [(0, Fraction(0))] for row in rows]
    for row in taps:
        if any(w.denominator % PRIME == 0 for _, w in row):
            raise call.refused(f"weights with denominators that {PRIME} divides")
    most = max(len(row) for row in taps)
    total: Tensor | None = None
    for t in range(most):
        chosen = [row[min(t, len(row) - 1)] for row in taps]
        places = torch.tensor([i for i, _ in chosen], device=x.device)
        factors = [of_fraction(w) if t < len(row) else 0 for row, (_, w) in zip(taps, chosen, strict=True)]
        column = torch.tensor(factors, dtype=x.dtype, device=x.device).reshape(-1, *[1] * (x.dim() - 1 - d))
        part = x.index_select(d, places).mul_(column)
        total = part if total is None else total.add_(part)
    assert total is not None
    return mod(total)
