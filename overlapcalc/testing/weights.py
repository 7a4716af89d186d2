"""Weights under which every dependency shows."""

from __future__ import annotations

import copy

import torch
from torch import nn


def positive(model: nn.Module, *, seed: int = 0) -> nn.Module:
    """A copy of `model` in float64 and eval mode whose parameters are far from zero and positive.

    Every tap then shows and nothing cancels; kernels sum to about 1, so that values neither vanish nor overflow with
    depth. Buffers (masks, running statistics) are structure and stay. The same seed gives the same weights.

    >>> net = positive(nn.Conv1d(1, 1, 3))
    >>> net.weight.dtype, bool((net.weight > 0.1).all())
    (torch.float64, True)
    """
    generator = torch.Generator().manual_seed(seed)
    found = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        for p in found.parameters():
            p.copy_(torch.rand(p.shape, generator=generator, dtype=torch.float64) + 0.3)
            if p.dim() > 2:
                p.div_(p.flatten(1).sum(dim=1).mean())
    return found
