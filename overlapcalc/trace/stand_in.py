"""A copy of a model to trace in its place: the same modules, its own buffers, weights that are never read.

The user's model is never touched: forward passes that write to themselves write to the copy. Parameters become
uninitialised memory of the same shape, which the system does not even provide until somebody reads it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from .arguments import signed


def stand_in(model: nn.Module) -> nn.Module:
    """A copy of `model` on the CPU, in eval mode, that shares no tensor with it. Raises whatever deepcopy raises."""
    memo: dict[int, Any] = {}
    with torch.no_grad():
        for module in model.modules():
            for p in module._parameters.values():
                if p is not None and id(p) not in memo:
                    memo[id(p)] = _blank(p)
            for value in (*module._buffers.values(), *vars(module).values()):
                if isinstance(value, torch.Tensor) and id(value) not in memo:
                    memo[id(value)] = _copied(value)
        twin = copy.deepcopy(model, memo)
    signed(twin)
    twin._overlapcalc_shared = shared_tensors(model)  # type: ignore[assignment]
    return twin.eval()


def shared_tensors(model: nn.Module) -> tuple[frozenset[str], ...]:
    """Groups of names of parameters, buffers and other tensors of modules that share memory.

    In a copy each has memory of its own, so a stand-in remembers the groups of its original.
    """
    known: tuple[frozenset[str], ...] | None = getattr(model, "_overlapcalc_shared", None)
    if known is not None:
        return known
    named = [
        (f"{prefix}.{name}" if prefix else name, value)
        for prefix, module in model.named_modules(remove_duplicate=False)
        for name, value in (*module._parameters.items(), *module._buffers.items(), *vars(module).items())
    ]
    return sharing(named)


def sharing(named: Iterable[tuple[str, Any]]) -> tuple[frozenset[str], ...]:
    """Groups of names of tensors that lie in the same memory."""
    groups: dict[int, set[str]] = {}
    for name, value in named:
        if isinstance(value, torch.Tensor) and value.layout == torch.strided and value.numel():
            groups.setdefault(value.untyped_storage()._cdata, set()).add(name)
    return tuple(frozenset(names) for names in groups.values() if len(names) > 1)


def _blank(p: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(torch.empty(p.shape, dtype=p.dtype, device="cpu"), requires_grad=False)


def _copied(t: torch.Tensor) -> torch.Tensor:
    """Old-style weight_norm keeps a computed tensor as an attribute, which deepcopy refuses; a buffer is data."""
    if isinstance(t, nn.Parameter):
        return _blank(t)
    return t.detach().to("cpu", copy=True)


def unmask(model: nn.Module) -> nn.Module:
    """Turn the parameters of a stand-in into buffers.

    `self.weight.data *= self.mask` inside forward writes to a parameter, which no tracer follows. A write to a buffer
    is followed: it becomes the product that the next operator reads.
    """
    for module in model.modules():
        names = [name for name, p in module._parameters.items() if p is not None]
        for name in names:
            weight = module._parameters.pop(name)
            assert weight is not None
            module.register_buffer(name, weight.detach())
        if names:
            module._overlapcalc_weights = tuple(names)  # type: ignore[assignment]
    return model


def of_type(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Turn all floating parameters and buffers of a copy into another type, complex ones into its complex type."""
    pair = {torch.float64: torch.complex128, torch.float16: torch.complex32}.get(dtype, torch.complex64)

    def turned(t: torch.Tensor) -> torch.Tensor:
        return t.to(dtype if t.is_floating_point() else pair if t.is_complex() else t.dtype)

    found: nn.Module = model._apply(turned)  # type: ignore[no-untyped-call]
    return found
