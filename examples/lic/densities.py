"""From the densities that a codec learned to the integer tables that it codes by. Done once, after training."""

from __future__ import annotations

import math

import numpy as np
import torch

from .priors import EntropyBottleneck
from .tables import Floats, Tables, tables

LEAST_SCALE, MOST_SCALE, SCALES = 0.11, 256.0, 64
"""As in CompressAI: 64 scales, evenly spaced by their logarithm."""
REACH = 3.5
"""A table of scale s holds the symbols up to 3.5 s; what lies beyond is escaped, one symbol in 2000."""


def scale_table() -> torch.Tensor:
    """Of shape (64,)."""
    return torch.exp(torch.linspace(math.log(LEAST_SCALE), math.log(MOST_SCALE), SCALES))


def gaussian_tables(scales: torch.Tensor) -> Tables:
    """One table per scale, centred at 0."""
    return tables([_gaussian(float(scale)) for scale in scales])


def _gaussian(scale: float) -> tuple[int, Floats]:
    most = max(2, math.ceil(REACH * scale))
    edges = np.arange(-most, most + 2) - 0.5
    below = np.array([math.erf(edge / scale / math.sqrt(2)) for edge in edges]) / 2
    return -most, np.diff(below)


def factorized_tables(density: EntropyBottleneck, *, most: int = 60, tail: float = 2.0**-11) -> Tables:
    """One table per channel, of distances from its median. most: no table reaches farther."""
    medians = density.medians
    distances = torch.arange(-most, most + 2, dtype=torch.float32) - 0.5
    with torch.no_grad():
        below = torch.sigmoid(density.logits(medians + distances)).double().numpy()[:, 0]
    return tables([_trimmed(np.clip(np.diff(row), 0.0, None), -most, tail) for row in below])


def _trimmed(mass: Floats, first: int, tail: float) -> tuple[int, Floats]:
    """Without the symbols at either end that are together rarer than `tail`, but always with those around 0."""
    left = int(np.searchsorted(np.cumsum(mass), tail / 2))
    right = len(mass) - int(np.searchsorted(np.cumsum(mass[::-1]), tail / 2))
    left, right = min(left, -first - 1), max(right, 2 - first)
    return first + left, mass[left:right]
