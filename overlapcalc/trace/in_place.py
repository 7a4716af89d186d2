"""Operators that write their result where an operand was."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch._ops import OpOverload


@cache
def in_place(target: Any) -> OpOverload | None:
    """The operator that computes the same as this one in the memory of its first operand; None where torch has none, or
    does not say of both that they compute sample by sample.

    >>> str(in_place(torch.ops.aten.silu.default)), in_place(torch.ops.aten.pow.Scalar)
    ('aten.silu_.default', None)
    """
    if not isinstance(target, OpOverload):
        return None
    namespace, _, name = target._schema.name.partition("::")
    packet = getattr(getattr(torch.ops, namespace), f"{name}_", None)
    found = getattr(packet, target._overloadname, None)
    if not isinstance(found, OpOverload) or not all(torch.Tag.pointwise in one.tags for one in (target, found)):
        return None
    alike = _taken(target) == _taken(found) and len(target._schema.returns) == 1
    return found if alike and target._schema.returns[0].alias_info is None else None


def _taken(target: OpOverload) -> list[tuple[str, str]]:
    """The arguments: `pow` has an overload of a number to the power of a tensor, `pow_` one of the same name of a
    tensor to the power of a number."""
    return [(argument.name, str(argument.type)) for argument in target._schema.arguments]
