"""Proof 5 and the figures: blocks against the whole, sample by sample."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..trace.peak_memory import MemoryMeter
from .fillings import same_bits
from .result import Figures

Outputs = Mapping[str, Tensor]
Measured = tuple[Outputs, int, float]
"""Outputs, bytes held at the fullest moment, and seconds."""


def compared(dtype: str, whole: Measured, blocks: Measured) -> Figures:
    """The figures of one comparison."""
    error = ulps = 0.0
    samples = identical = 0
    for name, y in whole[0].items():
        z = blocks[0][name]
        same = same_bits(y, z)
        samples, identical = samples + y.numel(), identical + int(same.sum())
        if not y.numel() or bool(same.all()):
            continue
        wide = torch.complex128 if y.is_complex() else torch.float64
        apart = (y.to(wide) - z.to(wide)).abs()
        apart = torch.where(same, torch.zeros_like(apart), apart)
        finite = y.to(wide).abs()[y.isfinite()]
        largest = float(finite.max()) if finite.numel() else 0.0
        worst = float(apart.nan_to_num(torch.inf).max())
        error = max(error, worst / largest if largest else torch.inf)
        if y.is_floating_point():
            ulps = max(ulps, float((apart / spacing(y)).nan_to_num(torch.inf).max()))
    return Figures(
        dtype=dtype,
        error=error,
        ulps=ulps,
        identical=identical / samples if samples else 1.0,
        full_bytes=whole[1],
        blocks_bytes=blocks[1],
        full_seconds=whole[2],
        blocks_seconds=blocks[2],
    )


def spacing(y: Tensor) -> Tensor:
    """The unit in the last place of each number: the distance to the next larger magnitude, in float64."""
    away = torch.nextafter(y.abs(), torch.full_like(y, torch.inf))
    return away.to(torch.float64) - y.abs().to(torch.float64)


def timed(work: Callable[[], Outputs], device: torch.device) -> Measured:
    """Run it and measure time and memory: that of CUDA's allocator, elsewhere that of live tensors."""
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    started = time.perf_counter()
    outputs = work()
    if cuda:
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - started
    if cuda:
        return outputs, torch.cuda.max_memory_allocated(device) - before, seconds
    with MemoryMeter((), kernels=False) as held:
        work()
    return outputs, held.peak, seconds
