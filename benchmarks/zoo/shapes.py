"""Images for the checks: long along one axis, short along the others, wherever the net runs."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import torch
from torch import nn

from .weights import noise

Inputs = tuple[torch.Tensor, ...]
Shape = tuple[int, ...]
Shapes = tuple[Shape, ...]
SHARES = (8, 4, 2, 1)
"""The other axes are tried at an eighth, a quarter, a half of the model's size, then at all of it."""
QUANTUM = 32
MOST_SAMPLES = 1 << 21
"""No longer images than this, other axes counted."""


def example(like: Inputs, shapes: Shapes) -> Inputs:
    """Noise of these shapes, of the types of `like`."""
    return noise(_zeros(like, shapes))


def _zeros(like: Inputs, shapes: Shapes) -> Inputs:
    return tuple(torch.zeros(s, dtype=x.dtype) for s, x in zip(shapes, like, strict=True))


def runs(model: nn.Module, shapes: Shapes, like: Inputs) -> bool:
    """Whether the net runs on inputs of these shapes."""
    try:
        with torch.no_grad():
            model(*_zeros(like, shapes))
    except Exception:  # a model's own checks raise whatever they like
        return False
    return True


def with_interior(
    model: nn.Module, like: Inputs, steps: list[dict[int, int]], place: int, least: float
) -> Iterator[Shapes]:
    """Shapes on which the net runs: of the same residues modulo the step as the examples, one axis long, the others
    short; then with longer others.

    steps[k]: place of an axis -> step of input k along it. least: how many steps long it has to be.
    """
    seen: set[Shapes] = set()
    for share in SHARES:
        shapes = []
        for x, step in zip(like, steps, strict=True):
            axes = list(x.shape[2:])
            for p, n in enumerate(axes):
                s = step.get(p, 0)
                if s == 0:
                    continue
                wanted = ceil(least * s) if p == place else max(s, 16, n // share)
                times = max(-((n - 1) // s), -(-(wanted - n) // s))
                axes[p] = n + times * s if p == place else min(n, n + times * s)
            shapes.append((*x.shape[:2], *axes))
        candidate = tuple(tuple(int(n) for n in s) for s in shapes)
        if candidate not in seen and _affordable(candidate) and runs(model, candidate, like):
            yield candidate
        seen.add(candidate)


def with_far_ends(model: nn.Module, base: Shapes, place: int, length: int, like: Inputs) -> Shapes:
    """The cheapest shapes at least so long along an axis on which the net runs; the model's own where none does."""
    wanted = length
    while wanted > max(s[2 + place] for s in base if len(s) > 2 + place):
        for shapes in _stretched(base, place, wanted):
            if runs(model, shapes, like):
                return shapes
        wanted //= 2
    return next((s for s in _stretched(base, place, 1) if runs(model, s, like)), base)


def with_four_cuts(model: nn.Module, base: Shapes, place: int, cut: int, like: Inputs) -> Shapes | None:
    """Shapes with four times `cut` and what the model's size has over a multiple of 32; the others shortest first."""
    for share in SHARES:
        shapes = tuple(
            (*s[:2], *(4 * cut + n % QUANTUM if p == place else _share(n, share) for p, n in enumerate(s[2:])))
            for s in base
        )
        if _affordable(shapes) and runs(model, shapes, like):
            return shapes
    return None


def _stretched(base: Shapes, place: int, length: int) -> Iterator[Shapes]:
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
    return sum(torch.Size(s[2:]).numel() for s in shapes) <= MOST_SAMPLES
