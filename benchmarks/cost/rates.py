"""How fast this machine can compute at all: what other rates are a share of."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

TIMES = 5
SIDE = 4096
OF_A_PRODUCT = "of a matrix product"


def matrix_product() -> float:
    """Multiply-accumulates per second of a product of two 4096 x 4096 matrices."""
    a = torch.rand(SIDE, SIDE)
    return SIDE**3 / fastest(lambda: a @ a)


def fastest(call: Callable[[], object], times: int = TIMES) -> float:
    """Seconds on the wall, the best of so many."""
    return min(_seconds(call) for _ in range(times))


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
