"""Pooling: the maximum as it is, the mean as a sum times the inverse of the divisor that torch uses there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .call import Call
from .modular import MOST_TERMS, PRIME, mod
from .registry import twin


@twin("max_pool2d_with_indices", "max_pool3d_with_indices", "max_pool1d_with_indices", "adaptive_max_pool1d",
      "adaptive_max_pool2d", "adaptive_max_pool3d", "max_pool1d", "max_pool2d", "max_pool3d", "cummax",
      "cummin")  # fmt: skip
def largest(call: Call) -> Any:
    return call.replayed(lambda name, v: call.residues_of(v) if isinstance(v, Tensor) else v)


def _widened(values: Sequence[int] | None, n: int, default: tuple[int, ...]) -> tuple[int, ...]:
    given = tuple(values) if values else default
    return given * n if len(given) == 1 else given


def _inverses(counts: list[int], like: Tensor) -> Tensor:
    return torch.tensor([pow(c, -1, PRIME) for c in counts], dtype=like.dtype, device=like.device)


def _scaled(x: Tensor, counts: list[list[int]]) -> Tensor:
    """Divide along the last dimensions by a product of one count per dimension."""
    n = len(counts)
    for i, row in enumerate(counts):
        if any(c % PRIME == 0 for c in row):
            raise ZeroDivisionError
        x = mod(x * _inverses(row, x).reshape(-1, *[1] * (n - 1 - i)))
    return x


@twin("avg_pool1d", "avg_pool2d", "avg_pool3d")
def average(call: Call) -> Tensor:
    x = call.tensor("self")
    n = int(call.name[-2])
    kernel = _widened(call["kernel_size"], n, ())
    stride, padding = _widened(call["stride"], n, kernel), _widened(call["padding"], n, (0,))
    ceil, divisor = bool(call["ceil_mode"]), call["divisor_override"]
    if n == 1:
        x = x.unsqueeze(-2)
        total = F.avg_pool2d(x, (1, *kernel), (1, *stride), (0, *padding), ceil, divisor_override=1).squeeze(-2)
    else:
        pool = F.avg_pool2d if n == 2 else F.avg_pool3d
        total = pool(x, kernel, stride, padding, ceil, divisor_override=1)
    total = mod(total)
    if divisor is not None:
        if divisor % PRIME == 0:
            raise call.refused(f"divides by {divisor}, a multiple of the prime")
        return mod(total * pow(int(divisor), -1, PRIME))
    counts = [
        _divisors(x.shape[i - n], total.shape[i - n], kernel[i], stride[i], padding[i], call["count_include_pad"])
        for i in range(n)
    ]
    return _scaled(total, counts)


def _divisors(size: int, outputs: int, kernel: int, stride: int, padding: int, include: bool) -> list[int]:
    """How many samples along one dimension torch counts. What ceil_mode adds beyond the padding never counts."""
    counts = []
    for o in range(outputs):
        start = o * stride - padding
        stop = min(start + kernel, size + padding)
        counts.append(stop - start if include else min(stop, size) - max(start, 0))
    return counts


@twin("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
      "adaptive_avg_pool3d")  # fmt: skip
def adaptive_average(call: Call) -> Tensor:
    x, sizes = call.tensor("self"), tuple(call["output_size"])
    n = len(sizes)
    counts = []
    for i, outputs in enumerate(sizes):
        d, size = x.dim() - n + i, x.shape[x.dim() - n + i]
        if size > MOST_TERMS:
            raise call.refused(f"sums over an axis of {size} samples do not fit in 53 bits")
        starts = [o * size // outputs for o in range(outputs)]
        stops = [-(-(o + 1) * size // outputs) for o in range(outputs)]
        sums = torch.cat([torch.zeros_like(x.narrow(d, 0, 1)), x.cumsum(d)], d)
        upto, before = (torch.tensor(ends, device=x.device) for ends in (stops, starts))
        x = mod(sums.index_select(d, upto) - sums.index_select(d, before))
        counts.append([b - a for a, b in zip(starts, stops, strict=True)])
    return _scaled(x, counts)
