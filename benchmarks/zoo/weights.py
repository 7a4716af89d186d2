"""Weights with which effects can be seen.

Initial weights hide what a net does: branches that start at zero, layer scales of 1e-6, batch norms that let the
activations die or explode. Dependence on the input is a matter of structure; any other weights show it as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

Inputs = tuple[torch.Tensor, ...]


def enliven(model: nn.Module, inputs: Inputs) -> None:
    """Replace parameters that are all one value, and give batch norms the statistics of what they meet. In place."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.is_floating_point() and p.numel() and bool((p == p.flatten()[0]).all()):
                p.copy_(_fresh(name, p, generator))
        with _calibrating(model):
            try:
                model(*noise(inputs))
            except (RuntimeError, ValueError, IndexError):
                return  # the statistics met so far are kept


def noise(inputs: Inputs) -> Inputs:
    """Normal noise of the shapes and types of the examples; whole numbers stay as they are."""
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.dtype) if x.is_floating_point() else x
        for x in inputs
    )


def _fresh(name: str, p: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    if p.dim() > 1 and p.shape[1:].numel() > 1:
        fan = max(1, p.shape[1:].numel())
        return torch.randn(p.shape, generator=generator).mul_(fan**-0.5)
    if "bias" in name:
        return torch.randn(p.shape, generator=generator).mul_(0.1)
    return torch.rand(p.shape, generator=generator).add_(0.5)


@contextmanager
def _calibrating(model: nn.Module) -> Iterator[None]:
    def measure(norm: nn.Module, args: tuple[Any, ...]) -> None:
        assert isinstance(norm, _BatchNorm)
        x = args[0]
        if norm.running_mean is None or norm.running_var is None or x.numel() < 8 * x.shape[1]:
            return
        over = [d for d in range(x.dim()) if d != 1]
        var = x.var(over, unbiased=False)
        norm.running_mean.copy_(x.mean(over))
        norm.running_var.copy_(var.clamp(min=float(var.mean()) * 0.05 + 1e-12))

    hooks = [m.register_forward_pre_hook(measure) for m in model.modules() if isinstance(m, _BatchNorm)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
