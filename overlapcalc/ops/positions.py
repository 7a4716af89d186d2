"""Where torch's resampling kernels look, as they round it.

Per output they step `1 / scale_factor` samples, or `size_in / size_out` where no factor was given, in the type that
they compute in: float64 for float64, float32 for every other type; channels_last and small images take float32
nearest positions in float64 too (aten/src/ATen/native/UpSample.h, cpu/UpSampleKernel.cpp; *measured* with torch 2.13).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import floor, pi, sin, ulp

Rounding = Callable[[float], float]
"""A number of Python, as a type holds it."""

HALF = Fraction(1, 2)
LARGEST_DENOMINATOR = 4096


def single(x: float) -> float:
    """The nearest float32: `single(0.1) == 0.10000000149011612`."""
    return float(struct.unpack("f", struct.pack("f", x))[0])


def double(x: float) -> float:
    return x


TYPES: dict[str, Rounding] = {"float32": single, "float64": double}
"""The types that positions are computed in."""


@dataclass(frozen=True)
class Step:
    """Input samples per output sample along one dimension. given: the scale factor, None where torch goes by sizes.

    >>> Step(4 / 3, 30, 40).fraction, Step(1.3333334, 30, 40).fraction
    (Fraction(3, 4), None)
    """

    given: float | None
    size_in: int
    size_out: int

    def rounded(self, to: Rounding) -> float:
        """As a kernel has it."""
        return to(1.0 / self.given if self.given else self.size_in / self.size_out)

    @cached_property
    def fraction(self) -> Fraction | None:
        """The fraction that this is but for rounding, twice (of the factor and of its inverse); None where it is none.

        Two fractions with denominators up to 4096 are 6e-8 apart, so at most one is as near as that.
        """
        if not self.given:
            return Fraction(self.size_in, self.size_out)
        exact = Fraction(1.0 / self.given)
        near = exact.limit_denominator(LARGEST_DENOMINATOR)
        return near if near and abs(near - exact) <= 2 * Fraction(ulp(1.0 / self.given)) else None

    @property
    def drift(self) -> Fraction:
        """By how much a float64 kernel's step is longer than the fraction, as a part of it."""
        assert self.fraction is not None
        return Fraction(self.rounded(double)) / self.fraction - 1


STEADY = Fraction(1, 2**54)
"""A step whose error is at most this part of it reaches whole and half positions exactly, wherever they are: there the
error is less than half a unit in the last place, and is rounded away."""


def nearest_sample(kind: str, step: float, o: int, size: int, to: Rounding) -> int:
    """Which sample output o copies. Float64 kernels round the position to float32 before they cut it off."""
    position = to(to(o + 0.5 if kind == "nearest_exact" else o) * step)
    return min(size - 1, floor(single(position)))


def centre(step: float, o: int, to: Rounding) -> float:
    """Where the centre of output o stands, counted from the centre of sample 0: rounded once, for kernels multiply and
    add in one instruction. Those of machines that have none are off by one unit in the last place more."""
    return to(float(Fraction(step) * (2 * o + 1) / 2 - HALF))


def exact_centre(step: Fraction, o: int) -> Fraction:
    return (o + HALF) * step - HALF


def tidy(weight: float) -> float:
    """A weight that is a whole number but for rounding is that number."""
    return float(round(weight)) if abs(weight - round(weight)) < NOISE else weight


NOISE = 2.0**-40


def cubic(x: float, a: float) -> float:
    """Keys' filter."""
    if x <= 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


def wide_filter(reach: int, x: float) -> float:
    """The triangle, Keys' cubic with A = -1/2 and the Lanczos filter, by how many samples they reach to a side."""
    x = abs(x)
    if x >= reach:
        return 0.0
    if reach == 1:
        return 1 - x
    if reach == 2:
        return cubic(x, -0.5)
    angle = pi * x
    return 1.0 if x == 0 else 3 * sin(angle) * sin(angle / 3) / angle**2
