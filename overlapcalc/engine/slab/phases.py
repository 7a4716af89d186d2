"""A transposed convolution as one convolution per phase of its outputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def phase_kernel(weight: Tensor | None, taps: Sequence[tuple[int, ...]], groups: int) -> Tensor:
    """These taps of a transposed convolution's weight, (in, out / groups, ...), laid out for a convolution."""
    assert weight is not None
    for d, chosen in enumerate(taps, 2):
        weight = weight.index_select(d, torch.tensor(chosen, device=weight.device))
    weight = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:]).transpose(1, 2)
    return weight.reshape(-1, *weight.shape[2:])
