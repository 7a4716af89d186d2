"""A net in float64 throughout, no matter which types it casts to on the way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from ..ops import Kind, full_name, known_of
from .twin.call import functional_name, tensors, written
from .twin.mode import MADE

STEPS_ALLOWED = 256
"""Blocks and whole may differ by this many units in the last place of the largest value."""
MOST_ALLOWED = 0.05
"""The limit for any type, however coarse: a larger error is not rounding."""


def rounding_allowed(dtype: torch.dtype) -> float:
    """How far off values may be that pass through this type, relative to the largest one.

    >>> rounding_allowed(torch.float32)
    3.0517578125e-05
    """
    return min(STEPS_ALLOWED * torch.finfo(dtype).eps, MOST_ALLOWED)


def coarsest(types: Iterable[torch.dtype]) -> torch.dtype | None:
    """The floating or complex type with the largest steps; None where there is none."""
    floating = [t for t in types if t.is_floating_point or t.is_complex]
    return max(floating, key=lambda t: torch.finfo(t).eps, default=None)


def wide_type(dtype: torch.dtype) -> torch.dtype:
    """float64 for a floating type, complex128 for a complex one; others stay.

    >>> wide_type(torch.float16), wide_type(torch.int32)
    (torch.float64, torch.int32)
    """
    if dtype.is_complex:
        return torch.complex128
    return torch.float64 if dtype.is_floating_point else dtype


class Widened(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within it every cast to a floating type gives float64, and so does everything that is created in one.

    So a norm that a net computes in float32 leaves no room for rounding. Reinterpreting a number's memory as another
    type would not be the same any more: it raises TypeError.
    """

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not isinstance(func, OpOverload):
            return func(*args, **kwargs)
        if known_of(full_name(func._schema.name, func._overloadname)).kind is Kind.RECAST:
            raise TypeError("the net reads the memory of numbers as another type")
        name = functional_name(func)
        operands = [t for t in tensors([*args, *kwargs.values()]) if t.is_floating_point() or t.is_complex()]
        mixed = len({t.dtype for t in operands}) > 1 and not written(func)
        result = func(*(_wide(a, mixed) for a in args), **{name: _wide(value, mixed) for name, value in kwargs.items()})
        if name in MADE and isinstance(result, Tensor) and not written(func):
            return result.to(wide_type(result.dtype))
        return result


def _wide(value: Any, mixed: bool) -> Any:
    """An argument with types widened; tensors too, where the operator has some of different types."""
    if isinstance(value, torch.dtype):
        return wide_type(value)
    if isinstance(value, Tensor):
        return value.to(wide_type(value.dtype)) if mixed else value
    if isinstance(value, (list, tuple)):
        return [_wide(v, mixed) for v in value]
    return value
