"""Facts about a program of torch.export: its state, its parameters, the arguments and shapes of its calls."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.fx import Node as FxNode

from ..errors import TraceError
from .places import at

PLAIN = frozenset({"weight", "bias", "running_mean", "running_var", "running_inv_std"})
"""Arguments whose values never decide what is read (the weights of norms and linear layers)."""


def live_parameters() -> frozenset[int]:
    """Addresses of all parameters in the process: a lifted constant may be one that a closure or a list holds."""
    return frozenset(p.data_ptr() for p in gc.get_objects() if type(p) is nn.Parameter and p.numel())


def were_parameters(model: nn.Module) -> list[str]:
    """Names of buffers that stand for parameters (see stand_in.unmask)."""
    return [
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        for name in getattr(module, "_overlapcalc_weights", ())
    ]


def arguments_by_name(call: FxNode) -> Iterator[tuple[str, Any]]:
    """Every argument of the operator's schema, defaults filled in."""
    for i, argument in enumerate(call.target._schema.arguments):  # type: ignore[union-attr]
        if i < len(call.args):
            yield argument.name, call.args[i]
        elif argument.name in call.kwargs:
            yield argument.name, call.kwargs[argument.name]
        else:
            yield argument.name, argument.default_value if argument.has_default_value() else None


def state_of(program: Any, target: str) -> torch.Tensor:
    found: torch.Tensor | None = program.state_dict.get(target)
    if found is None:
        found = program.constants[target]
    assert isinstance(found, torch.Tensor)
    here: torch.Tensor = on_cpu(found)
    return here


def on_cpu(value: Any) -> Any:
    """The value with tensors on the CPU: a program keeps its tensors on the device where it was exported."""
    elsewhere = isinstance(value, torch.Tensor) and value.device.type not in ("cpu", "meta")
    return value.detach().cpu() if elsewhere else value


def shape_of(fx: FxNode) -> tuple[int, ...]:
    shape = fx.meta["val"].shape
    if not all(isinstance(n, int) for n in shape):
        raise TraceError(f"the shape {tuple(shape)} of {fx.name} depends on the data{at(fx)}")
    return tuple(int(n) for n in shape)


def lying_of(call: FxNode) -> tuple[int, ...]:
    """The strides of the first operand; none where the call could read more memory than the operand is."""
    operand: Any = call.args[0]
    fake = operand.meta["val"]
    all_of_it = fake.untyped_storage().nbytes() == fake.numel() * fake.element_size()
    reaches = any(isinstance(value, (list, tuple)) for value in call.args)  # it says itself where its samples lie
    return () if reaches and not all_of_it else tuple(fake.stride())
