"""What torch samples where there is no periodic law: at one size, by a factor that is no fraction or with aligned
corners; and how that departs from what a fraction says.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from math import floor

from ..algebra.index_map import IndexMap
from ..algebra.spans import EMPTY, Spans
from .positions import (
    HALF,
    TYPES,
    Rounding,
    SamplingStep,
    centre,
    cubic,
    double,
    exact_centre,
    nearest_sample,
    single,
    tidy,
)

NEAREST = ("nearest", "nearest_exact")


@lru_cache(maxsize=1024)
def table_here(kind: str, step: SamplingStep, aligned: bool) -> IndexMap | None:
    """What is read at this size, by any type that a kernel may compute in.

    None where nothing says what torch takes: nearest samples that the types disagree on (which of them a kernel
    computes in depends on the layout in memory), short cuts that only some kernels take, and antialiasing by a factor
    that is no fraction.
    """
    if kind == "smooth":
        return None
    found: list[set[int]] = []
    off = 0.0 if kind in NEAREST else step.size_in * 2.0**-21
    for o in range(step.size_out):
        taken = [
            {i for moved in (-off, off) for i in weights_here(kind, step, aligned, to, o, moved)}
            for to in TYPES.values()
        ]
        if kind in NEAREST and taken[0] != taken[1]:
            return None
        if kind != "linear" and not taken[0] <= _short_cut(kind, step, o, taken[0]):
            return None
        found.append(set.union(*taken))
    return IndexMap(max(1, len(found)), max(1, step.size_in), tuple(map(Spans.points, found)) or (EMPTY,))


def _short_cut(kind: str, step: SamplingStep, o: int, taken: set[int]) -> set[int]:
    """The sample that kernels with a short cut take for output o; where there is none, what the others take.

    *Measured*, torch 2.13: of as many outputs as inputs, kernels that interpolate linearly copy; cubic and nearest ones
    on CPU do so in some layouts only, and only some of the latter double where there are twice as many outputs.
    """
    if step.size_out == step.size_in:
        return {o}
    return {o // 2} if kind == "nearest" and step.size_out == 2 * step.size_in else taken


def weights_here(
    kind: str, step: SamplingStep, aligned: bool, to: Rounding, o: int, moved: float = 0.0
) -> Mapping[int, float]:
    """The samples of output o with their weights, at this size alone: as torch computes them, from a position.

    moved: by how much the position is off.
    """
    size, last = step.size_out, step.size_in - 1
    if kind == "linear" and size == step.size_in:
        return {o: 1.0}
    if kind in NEAREST:
        return {nearest_sample(kind, step.rounded(to), o, step.size_in, to): 1.0}
    if aligned:
        at = to(to(last / (size - 1) if size > 1 else 0.0) * o) + moved
    else:
        at = centre(step.rounded(to), o, to) + moved
    at = max(at, 0.0) if kind == "linear" else at
    first = min(floor(single(at)), last)  # as float64 kernels do too
    t = min(max(at - first, 0.0), 1.0)
    weights: dict[int, float] = {}
    for j in (0, 1) if kind == "linear" else (-1, 0, 1, 2):
        weight = tidy(1 - abs(t - j) if kind == "linear" else cubic(abs(t - j), -0.75))
        if weight:
            inside = min(max(first + j, 0), last)
            weights[inside] = weights.get(inside, 0.0) + weight
    return weights


def copies(kind: str, step: SamplingStep) -> bool:
    """Whether torch takes a short cut that the factor does not: it copies where there happen to be as many outputs as
    inputs (1.1 times 9 samples, say), and nearest doubles where there are twice as many."""
    same, twice = step.size_out == step.size_in, step.size_out == 2 * step.size_in
    return (same and step.fraction != 1) or (kind == "nearest" and twice and step.fraction != HALF)


@lru_cache(maxsize=1024)
def parted(kind: str, step: SamplingStep, factor: Fraction) -> str | None:
    """Where torch takes another sample than the fraction does: for linear and cubic, the first sample with a weight.

    Their weights change steadily from sample to sample, so it does not matter how far off float32 is; but float64
    kernels truncate a position after they round it to float32.
    """
    if kind not in NEAREST and step.size_in * factor.denominator < LEFT_BY_FLOAT32:
        return None
    for name, to in TYPES.items() if kind in NEAREST else [("float64", double)]:
        rounded = step.rounded(to)
        for o in range(step.size_out):
            if kind in NEAREST:
                taken = nearest_sample(kind, rounded, o, step.size_in, to)
                meant = min(step.size_in - 1, floor((o + HALF if kind == "nearest_exact" else o) * factor))
            else:
                taken, meant = floor(single(centre(rounded, o, to))), floor(exact_centre(factor, o))
            if taken != meant:
                return f"in {name} output {o} takes sample {taken}, not {meant}"
    return None


LEFT_BY_FLOAT32 = 1 << 23
"""Positions of a factor a/b are multiples of 1/2b, and below n float32 is off by at most n / 2^24."""


def uneven(kind: str, step: SamplingStep) -> str:
    """For a factor that is no fraction: where torch's positions depart from those of a nearby fraction."""
    assert step.given is not None
    per_output = step.rounded(double)
    text = f"scale_factor={step.given} is no fraction of whole numbers: torch steps {per_output} samples per output"
    near = Fraction(step.given).limit_denominator(64)
    if not near or abs(near - step.given) > 1e-4 * step.given:
        return text
    text = f"{text}, not {1 / near} as {near} would"
    taken = parted(kind, step, 1 / near) if kind in NEAREST else None
    if taken is not None:
        return f"{text}; {taken}"
    last = step.size_out - 1
    apart = abs(Fraction(centre(per_output, last, double)) - exact_centre(1 / near, last))
    return f"{text}; output {last} stands {float(apart):.1e} samples from there"
