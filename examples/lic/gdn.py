"""Generalised divisive normalisation (Balle et al. 2016), under CompressAI's names for its parameters."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

OFFSET = 2.0**-18
"""Parameters are stored as square roots, this far from 0, where the root has no gradient."""


class _Bounded(torch.autograd.Function):
    """max(x, bound). Below the bound a gradient passes only if it leads back up."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bound: Tensor) -> Tensor:
        ctx.save_for_backward(x, bound)
        return torch.maximum(x, bound)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        x, bound = ctx.saved_tensors
        (grad,) = grads
        return grad * ((x >= bound) | (grad < 0)), None


class LowerBound(nn.Module):
    """max(x, bound), from which training can come back."""

    bound: Tensor

    def __init__(self, bound: float) -> None:
        super().__init__()
        self.register_buffer("bound", torch.tensor([bound]))

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and x.requires_grad:
            bounded: Tensor = _Bounded.apply(x, self.bound)  # type: ignore[no-untyped-call]
            return bounded
        return torch.maximum(x, self.bound)


class NonNegative(nn.Module):
    """Values of at least `minimum`, from parameters that may be any number: `forward(stored(x)) == x`."""

    pedestal: Tensor

    def __init__(self, minimum: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("pedestal", torch.tensor([OFFSET**2]))
        self.lower_bound = LowerBound((minimum + OFFSET**2) ** 0.5)

    def stored(self, x: Tensor) -> Tensor:
        return torch.sqrt(torch.clamp(x, min=0) + self.pedestal)

    def forward(self, x: Tensor) -> Tensor:
        bounded = self.lower_bound(x)
        return bounded**2 - self.pedestal


class GDN(nn.Module):
    """x / sqrt(beta + gamma x^2), or x * sqrt(...) when `inverse`: mixes channels, never positions."""

    def __init__(self, channels: int, *, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta_reparam = NonNegative(1e-6)
        self.gamma_reparam = NonNegative()
        self.beta = nn.Parameter(self.beta_reparam.stored(torch.ones(channels)))
        self.gamma = nn.Parameter(self.gamma_reparam.stored(0.1 * torch.eye(channels)))

    def forward(self, x: Tensor) -> Tensor:
        gamma = self.gamma_reparam(self.gamma)[:, :, None, None]
        norm = F.conv2d(x * x, gamma, self.beta_reparam(self.beta))
        return x * torch.sqrt(norm) if self.inverse else x * torch.rsqrt(norm)
