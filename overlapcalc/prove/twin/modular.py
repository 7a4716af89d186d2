"""Arithmetic modulo a prime in float64: every intermediate result is a whole number below 2^53, hence exact."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

PRIME = 65521
"""The largest prime below 2^16."""

MOST_TERMS = 2**21 - 1
"""This many products of two residues sum to less than 2^53."""

INFINITY = 40009
"""What plus infinity becomes. Minus infinity stays: it tells softmax and max to leave a sample out."""


def mod(x: Tensor) -> Tensor:
    """Whole numbers to residues in [0, PRIME).

    >>> mod(torch.tensor([-1.0, 65521.0, 65523.0])).tolist()
    [65520.0, 0.0, 2.0]
    """
    return x.remainder(PRIME)


def residues(shape: Sequence[int], seed: int, device: torch.device | str = "cpu") -> Tensor:
    """Pseudo-random residues in [1, PRIME), float64. Drawn on the CPU, so that every device gets the same."""
    with _disable_current_modes():
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(1, PRIME, tuple(shape), generator=generator, device="cpu").to(device, torch.float64)


def of_number(v: float) -> float:
    """The residue that represents a number: whole numbers modulo PRIME, others scaled by 2^20. Only 0 becomes 0.

    It is a homomorphism on whole numbers with one exception: multiples of PRIME become 1, because what is not zero
    in the net must not vanish in its twin.

    >>> of_number(3.0), of_number(-1.0), of_number(65521.0)
    (3.0, 65520.0, 1.0)
    """
    if v != v or v == -math.inf:
        return v
    if v == math.inf:
        return INFINITY
    whole = int(v) if v == int(v) else round(v * 2**20)
    return float(whole % PRIME or (v != 0))


def of_tensor(t: Tensor) -> Tensor:
    """`of_number`, elementwise, as float64. The identity on residues."""
    if t.dtype == torch.bool:
        return t.to(torch.float64)
    if not t.is_floating_point():
        return torch.where(t == 0, 0, t.remainder(PRIME).clamp(min=1)).to(torch.float64)
    v = t.to(torch.float64)
    if t.numel() and torch.equal(v, v.floor()) and v.min() >= 0 and v.max() < PRIME:
        return v
    scaled = torch.where(v == v.floor(), v, (v * 2**20).round()).remainder(PRIME)
    scaled = torch.where((scaled == 0) & (v != 0), 1.0, scaled)
    scaled = torch.where(v == math.inf, float(INFINITY), scaled)
    return torch.where(v == -math.inf, v, scaled)


def of_fraction(f: Fraction) -> int:
    """Numerator times the inverse of the denominator, which PRIME must not divide.

    >>> of_fraction(Fraction(1, 2)) * 2 % PRIME
    1
    """
    return f.numerator * pow(f.denominator, -1, PRIME) % PRIME


def are_residues(t: Tensor) -> bool:
    """Whether all values are residues. NaN counts as one: it poisons a sample, and stays NaN."""
    return bool((((t >= 0) & (t < PRIME) & (t == t.floor())) | t.isnan()).all())


def key(*words: object) -> int:
    """A residue in [1, PRIME) that differs from operator to operator and from argument to argument."""
    return zlib.crc32(repr(words).encode()) % (PRIME - 1) + 1


def mixed(salt: int, *operands: Tensor) -> Tensor:
    """A fixed map of residues, sample by sample: cubic in each operand, at most three to one.

    It stands in for every nonlinear function. Unlike relu it is constant on no interval, so no error in an operand
    can hide.
    """
    result: Tensor | int = salt
    for i, x in enumerate(operands):
        t = x * (2 * i + 1) + result
        result = (t * t).add_(17).remainder_(PRIME).mul_(t).add_(salt).remainder_(PRIME)
    assert isinstance(result, Tensor)
    return result


GENERATOR = 17
"""Its powers are all residues but 0."""


@lru_cache(maxsize=8)
def _powers(device: torch.device) -> Tensor:
    """For every residue r, `GENERATOR ** (r - PRIME)`, and 1 for 0."""
    row, power = [1], 1  # PRIME - 1 powers later it begins anew, so 1 - PRIME is as 0
    for _ in range(PRIME - 1):
        row.append(power)
        power = power * GENERATOR % PRIME
    with _disable_current_modes():
        return torch.tensor(row, dtype=torch.float64, device=device)


def power(x: Tensor) -> Tensor:
    """An exponential of residues: `power(a - b) * power(b - c) == power(a - c)` for all residues a <= b <= c.

    Differences are residues too, so a residue other than 0 stands for the negative number `r - PRIME`. Minus infinity
    gives 0, and NaN stays.

    >>> x = torch.tensor([0.0, 65520.0, 65519.0, -torch.inf])  # 0, -1, -2
    >>> mod(power(x) * 17**2).tolist()
    [289.0, 17.0, 1.0, 0.0]
    """
    gone, known = x == -math.inf, x.isfinite()
    made = _powers(x.device)[torch.where(known, x, 0).to(torch.int64)]
    return torch.where(known, made, torch.where(gone, 0.0, math.nan))
