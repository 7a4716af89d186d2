"""Input shapes for the checks: long along one axis, short along the others, wherever the net runs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

Shape = tuple[int, ...]
Shapes = tuple[Shape, ...]
SHARES = (8, 4, 2, 1)
"""The other axes are tried at an eighth, a quarter, a half of the model's size, then at all of it."""
QUANTUM = 32
MOST_SAMPLES = 1 << 21
"""No longer images than this, other axes counted."""


def runs(model: nn.Module, shapes: Shapes, like: tuple[torch.Tensor, ...]) -> bool:
    """Whether the net runs on inputs of these shapes."""
    try:
        with torch.no_grad():
            model(*(torch.zeros(s, dtype=x.dtype) for s, x in zip(shapes, like, strict=True)))
    except Exception:  # a model's own checks raise whatever they like
        return False
    return True


def stretched(base: Shapes, place: int, length: int) -> Iterator[Shapes]:
    """Shapes with one axis times a whole number, so that it has `length` samples; the others shortest first."""
    longest = max(s[2 + place] for s in base if len(s) > 2 + place)
    times = max(1, -(-length // longest))
    seen: set[Shapes] = set()
    for share in SHARES:
        shapes = tuple(
            (*s[:2], *(n * times if p == place else _share(n, share) for p, n in enumerate(s[2:]))) for s in base
        )
        if shapes not in seen and _affordable(shapes):
            seen.add(shapes)
            yield shapes


def _share(n: int, share: int) -> int:
    return n if n <= QUANTUM else min(n, -(-n // (share * QUANTUM)) * QUANTUM)


def _affordable(shapes: Shapes) -> bool:
    total = 0
    for s in shapes:
        samples = 1
        for n in s[2:]:
            samples *= n
        total += samples
    return total <= MOST_SAMPLES


def far_shapes(model: nn.Module, base: Shapes, place: int, length: int, like: tuple[torch.Tensor, ...]) -> Shapes:
    """The cheapest shapes at least so long along an axis on which the net runs; the model's own where none does."""
    wanted = length
    while wanted > max(s[2 + place] for s in base if len(s) > 2 + place):
        for shapes in stretched(base, place, wanted):
            if runs(model, shapes, like):
                return shapes
        wanted //= 2
    return next((s for s in stretched(base, place, 1) if runs(model, s, like)), base)
