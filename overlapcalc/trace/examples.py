"""Example inputs of an export: tensors without data, on the CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from ..errors import TraceError
from ..ops.graph import Shapes

MOST_REAL = 1 << 28


def default_on_cpu() -> contextlib.AbstractContextManager[object]:
    """The stand-in is on the CPU, and so must be what the net makes on the way, whatever the user's default device."""
    elsewhere = torch.get_default_device().type != "cpu"
    found: Any = torch.device("cpu") if elsewhere else contextlib.nullcontext()
    return found  # type: ignore[no-any-return]


def examples(shapes: Shapes, dtypes: Sequence[torch.dtype]) -> tuple[torch.Tensor, ...]:
    """Tensors of these shapes without data; fake ones where even the address space would be too small."""
    mode: Any = contextlib.nullcontext()
    if sum(prod(shape) for shape in shapes) > MOST_REAL:
        mode = FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv())
    with mode:
        try:
            return tuple(torch.empty(s, dtype=d, device="cpu") for s, d in zip(shapes, dtypes, strict=True))
        except RuntimeError as error:
            text = ", ".join("x".join(map(str, shape)) for shape in shapes)
            raise TraceError(f"inputs of {text} are more than torch can hold: {error}") from error
