"""The positions that torch's resampling kernels read, rounded as the kernels round them.

Per output they step `1 / scale_factor` samples, or `size_in / size_out` where no factor was given, in the type that
they compute in: float64 for float64, float32 for every other type. With channels_last, and for small images, nearest
positions of float32 are computed in float64 too (aten/src/ATen/native/UpSample.h, cpu/UpSampleKernel.cpp; *measured*
with torch 2.13).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import floor, pi, sin, ulp

Rounding = Callable[[float], float]
"""Rounds a Python number to a type."""

HALF = Fraction(1, 2)
LARGEST_DENOMINATOR = 4096


def single(x: float) -> float:
    """The nearest float32.

    >>> single(0.1)
    0.10000000149011612
    """
    return float(struct.unpack("f", struct.pack("f", x))[0])


def double(x: float) -> float:
    return x


TYPES: dict[str, Rounding] = {"float32": single, "float64": double}
"""The types that positions are computed in."""


@dataclass(frozen=True)
class SamplingStep:
    """Input samples per output sample along one dimension. given: the scale factor; None where torch uses the sizes.

    >>> SamplingStep(4 / 3, 30, 40).fraction, SamplingStep(1.3333334, 30, 40).fraction
    (Fraction(3, 4), None)
    """

    given: float | None
    size_in: int
    size_out: int

    def rounded(self, to: Rounding) -> float:
        """The step that a kernel uses."""
        return to(1.0 / self.given if self.given else self.size_in / self.size_out)

    @cached_property
    def fraction(self) -> Fraction | None:
        """The fraction that this equals up to two roundings (of the factor and of its inverse); None if there is none.

        Two fractions with denominators up to 4096 are at least 6e-8 apart, so at most one can be that near.
        """
        if not self.given:
            return Fraction(self.size_in, self.size_out)
        exact = Fraction(1.0 / self.given)
        near = exact.limit_denominator(LARGEST_DENOMINATOR)
        return near if near and abs(near - exact) <= 2 * Fraction(ulp(1.0 / self.given)) else None

    @property
    def drift(self) -> Fraction:
        """How much longer a float64 kernel's step is than the fraction, relative to it."""
        assert self.fraction is not None
        return Fraction(self.rounded(double)) / self.fraction - 1


STEADY = Fraction(1, 2**54)
"""A step whose relative error is at most this reaches all whole and half positions exactly: there the error is less
than half a unit in the last place, and is rounded away."""


def nearest_sample(kind: str, step: float, o: int, size: int, to: Rounding) -> int:
    """The sample that output o copies. Float64 kernels round the position to float32 before they truncate it.

    >>> [nearest_sample("nearest", 0.5, o, 2, single) for o in range(4)]
    [0, 0, 1, 1]
    """
    position = to(to(o + 0.5 if kind == "nearest_exact" else o) * step)
    return min(size - 1, floor(single(position)))


def centre(step: float, o: int, to: Rounding) -> float:
    """The centre of output o, counted from the centre of sample 0. Rounded once, because kernels multiply and add in
    one instruction; on machines without it they are off by one more unit in the last place.

    >>> [centre(0.5, o, double) for o in range(4)]
    [-0.25, 0.25, 0.75, 1.25]
    """
    return to(float(Fraction(step) * (2 * o + 1) / 2 - HALF))


def exact_centre(step: Fraction, o: int) -> Fraction:
    return (o + HALF) * step - HALF


def tidy(weight: float) -> float:
    """A weight within rounding of a whole number is that number."""
    return float(round(weight)) if abs(weight - round(weight)) < NOISE else weight


NOISE = 2.0**-40


def cubic(x: float, a: float) -> float:
    """Keys' cubic filter at a distance of x samples.

    >>> cubic(0.0, -0.75), cubic(1.0, -0.75), cubic(1.5, -0.75)
    (1.0, 0.0, -0.09375)
    """
    if x <= 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


def wide_filter(reach: int, x: float) -> float:
    """The triangle (reach 1), Keys' cubic with A = -1/2 (reach 2), the Lanczos filter (reach 3 samples to a side)."""
    x = abs(x)
    if x >= reach:
        return 0.0
    if reach == 1:
        return 1 - x
    if reach == 2:
        return cubic(x, -0.5)
    angle = pi * x
    return 1.0 if x == 0 else 3 * sin(angle) * sin(angle / 3) / angle**2
