"""The name of a torch operator, with its overload where the plain name does not stand for it."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from ..ops import find, full_name, known_of
from ..ops.registry import UNKNOWN, Operator


def operator_name(target: Any) -> str:
    """`aten::conv2d`, `aten::view.dtype`; a higher-order operator has a name of its own and no schema.

    An overload that torch tags as pointwise needs no rule, and one without siblings needs no distinction.

    >>> operator_name(torch.ops.aten.conv2d.default), operator_name(torch.ops.aten.view.dtype)
    ('aten::conv2d', 'aten::view.dtype')
    """
    schema = getattr(target, "_schema", None)
    if schema is None:
        return f"higher_order::{getattr(target, '__name__', target)}"
    plain, full = str(schema.name), full_name(schema.name, schema.overload_name)
    if full == plain or find(full) is not None:
        return full
    return plain if torch.Tag.pointwise in target.tags or _alone(plain) else full


def overload_of(op: str) -> Any:
    """The operator of torch that a name without an overload means."""
    namespace, _, name = op.partition("::")
    return getattr(getattr(torch.ops, namespace), name).default


def facts_of(target: Any) -> Operator:
    """The record of a torch operator, whichever overload it is; for an in-place one, that of its functional twin."""
    schema = getattr(target, "_schema", None)
    if schema is None:
        return UNKNOWN
    return known_of(schema.name.removesuffix("_") if schema.is_mutable else schema.name)


@cache
def _alone(name: str) -> bool:
    """Whether an operator has a single overload, not counting those that write to their operands."""
    space, _, own = name.partition("::")
    packet = getattr(getattr(torch.ops, space), own)
    schemas = [getattr(packet, overload)._schema for overload in packet.overloads()]
    return sum(not schema.is_mutable for schema in schemas) == 1
