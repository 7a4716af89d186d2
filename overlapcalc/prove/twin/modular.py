"""Arithmetic modulo a prime in float64: every intermediate result is a whole number below 2^53, hence exact."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

PRIME = 65521
"""The largest prime below 2^16."""

MOST_TERMS = 2**21 - 1
"""So many products of two residues sum to less than 2^53."""

INFINITY = 40009
"""What plus infinity becomes. Minus infinity stays: it is how softmax and max are told to leave a sample out."""


def mod(x: Tensor) -> Tensor:
    """Whole numbers to residues in [0, PRIME)."""
    return x.remainder(PRIME)


def residues(shape: Sequence[int], seed: int, device: torch.device | str = "cpu") -> Tensor:
    """Pseudo-random residues in [1, PRIME), float64. Drawn on the CPU, so that every device gets the same."""
    with _disable_current_modes():
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(1, PRIME, tuple(shape), generator=generator).to(device, torch.float64)


def of_number(v: float) -> float:
    """The residue that stands for a number: whole numbers modulo PRIME, others scaled by 2^20. Only 0 becomes 0.

    It is a homomorphism on whole numbers but for one thing: multiples of PRIME become 1, because what is not zero
    in the net must not vanish in its twin.
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
    """Numerator times the inverse of the denominator, which PRIME must not divide."""
    return f.numerator * pow(f.denominator, -1, PRIME) % PRIME


def are_residues(t: Tensor) -> bool:
    """NaN counts as one: it poisons a sample, and stays NaN."""
    return bool((((t >= 0) & (t < PRIME) & (t == t.floor())) | t.isnan()).all())


def key(*words: object) -> int:
    """A residue in [1, PRIME) that differs from operator to operator and from argument to argument."""
    return zlib.crc32(repr(words).encode()) % (PRIME - 1) + 1


def mixed(salt: int, *operands: Tensor) -> Tensor:
    """A fixed map of residues, sample by sample: cubic in each operand, at most three to one.

    It stands for every function that is not linear. Unlike relu it is constant on no interval, so that no error of
    an operand can hide in it.
    """
    result: Tensor | int = salt
    for i, x in enumerate(operands):
        t = x * (2 * i + 1) + result
        result = (t * t).add_(17).remainder_(PRIME).mul_(t).add_(salt).remainder_(PRIME)
    assert isinstance(result, Tensor)
    return result
