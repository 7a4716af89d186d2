"""The memory of one run of a net. Without torch, so that planning can import it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class RunMemory:
    """Bytes of one run of a net. peak: what it creates and holds at its fullest moment, including outputs and what
    kernels need for themselves (on a CPU), without inputs and weights. code: the part of it that kernels keep for
    inputs of this shape.
    trail: the calls that it makes, without sizes: equal trails mean equal computation. None: not known."""

    peak: int
    weights: int
    inputs: int
    outputs: int
    code: int
    trail: str | None


MemoryAt = Callable[[tuple[tuple[int, ...], ...], str | None], RunMemory]
"""Input shapes, and the floating type to assume -> the memory of a run there."""
