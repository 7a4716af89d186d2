"""Whether numbers of one type hold in another."""

from __future__ import annotations

import torch
from torch import Tensor


def beyond(numbers: Tensor, kind: torch.dtype) -> Tensor:
    """Where numbers are out of the range of a type; whole ones also where they are not exact in it.

    Fewer digits of what is no whole number are fine. Fractions do not hold in whole numbers, which is not looked at.

    >>> beyond(torch.tensor([0, 255, 300, -1]), torch.uint8).tolist()
    [False, False, True, True]
    >>> beyond(torch.tensor([1e300, 0.1], dtype=torch.float64), torch.float32).tolist()
    [True, False]
    """
    if kind == numbers.dtype or not numbers.numel():
        return torch.zeros(numbers.shape, dtype=torch.bool, device=numbers.device)
    there = numbers.to(kind)
    if numbers.is_floating_point() or numbers.is_complex():
        return numbers.isfinite() & ~there.isfinite()
    wide = numbers.to(torch.int64)
    if kind.is_floating_point or kind.is_complex:
        double = torch.complex128 if kind.is_complex else torch.float64
        unlike = there.to(double) != numbers.to(torch.float64)
        return unlike | (there.real if kind.is_complex else there).to(torch.int64).ne(wide)
    if kind == torch.bool:
        return (wide != 0) & (wide != 1)
    least, most = (0, 2**63 - 1) if kind == torch.uint64 else (torch.iinfo(kind).min, torch.iinfo(kind).max)
    outside = (wide < least) | (wide > most)
    return outside | (wide < 0) if numbers.dtype == torch.uint64 else outside  # those that int64 does not hold
