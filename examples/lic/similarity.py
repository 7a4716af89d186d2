"""SSIM: how alike the structure of two pictures is, by the settings of those who proposed it.

Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004.
"""

from __future__ import annotations

import math
from statistics import fmean

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .pictures import Picture

RADIUS, SIGMA = 5, 1.5
"""Of the Gaussian window, 11x11."""
FIRST, SECOND = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ssim(a: Picture, b: Picture) -> float:
    """The mean over all whole windows, and over channels where there are several. 1 for equal pictures.

    Raises ValueError for pictures of different shapes, or smaller than a window.
    """
    if a.shape != b.shape or min(a.shape[:2]) <= 2 * RADIUS:
        raise ValueError(f"pictures of shapes {a.shape} and {b.shape}; expected equal ones of 11x11 or more")
    x, y = (torch.from_numpy(np.ascontiguousarray(p)).double().reshape(*p.shape[:2], -1).unbind(2) for p in (a, b))
    return fmean(_of_channel(*pair) for pair in zip(x, y, strict=True))


def _of_channel(x: Tensor, y: Tensor) -> float:
    mean_x, mean_y, xx, yy, xy = (_blurred(z) for z in (x, y, x * x, y * y, x * y))
    variances, covariance = xx + yy - mean_x**2 - mean_y**2, xy - mean_x * mean_y
    structure = (2 * covariance + SECOND) / (variances + SECOND)
    light = (2 * mean_x * mean_y + FIRST) / (mean_x**2 + mean_y**2 + FIRST)
    return float((light * structure).mean())


def _blurred(x: Tensor) -> Tensor:
    places = range(-RADIUS, RADIUS + 1)
    weights = torch.tensor([math.exp(-(i**2) / (2 * SIGMA**2)) for i in places], dtype=torch.float64)
    weights = weights / weights.sum()
    rows = F.conv2d(x[None, None], weights[None, None, :, None])
    return F.conv2d(rows, weights[None, None, None])[0, 0]
