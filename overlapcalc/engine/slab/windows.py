"""Positions of samples in windows, as pooling counts them: within the image, and within a window."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod

import torch
from torch import Tensor

from ...ops.slab import Windows


def _rows(sizes: Sequence[int]) -> list[int]:
    """The distance between neighbours along each dimension, counted row by row."""
    return [prod(sizes[i + 1 :]) for i in range(len(sizes))]


def places_in(windows: Windows) -> list[int]:
    """The positions of a window's samples, relative to its first one."""
    rows = _rows(windows.sizes)
    every = product(*(range(k) for k in windows.kernels))
    return [sum(t * row for t, row in zip(at, rows, strict=True)) for at in every]


def corners(windows: Windows, like: Tensor) -> Tensor:
    """The position of the first sample of each window."""
    found, n = torch.zeros((), dtype=torch.int64, device=like.device), len(windows.sizes)
    for i, row in enumerate(_rows(windows.sizes)):
        count = like.shape[like.dim() - n + i]
        along = torch.arange(count, device=like.device) * windows.strides[i] + windows.begins[i]
        found = found + (along * row).reshape([-1 if j == i else 1 for j in range(n)])
    return found
