"""What one run of a net holds. Torch-free, so that what plans can read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class RunMemory:
    """Bytes of one run of a net. peak: what it makes and holds at its fullest, outputs and what kernels need for
    themselves (on a CPU) included, inputs and weights not. code: the part of it that kernels keep for inputs of this
    shape.
    trail: the calls that it makes, sizes aside: runs of one trail are runs of one net. None: not known."""

    peak: int
    weights: int
    inputs: int
    outputs: int
    code: int
    trail: str | None


MemoryAt = Callable[[tuple[tuple[int, ...], ...], str | None], RunMemory]
"""Input shapes, and the floating type to assume -> what a run holds there."""
