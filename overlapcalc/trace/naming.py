"""What an operator of torch is called: its name, with its overload where the plain name does not speak for it."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from ..ops import find, full_name, known_of
from ..ops.registry import NOTHING, Operator


def operator_name(target: Any) -> str:
    """`aten::conv2d`, `aten::view.dtype`; a higher-order operator has a name of its own and no schema.

    An overload that torch tags as pointwise needs no rule, and one that has no siblings needs no telling apart.
    """
    schema = getattr(target, "_schema", None)
    if schema is None:
        return f"higher_order::{getattr(target, '__name__', target)}"
    plain, full = str(schema.name), full_name(schema.name, schema.overload_name)
    if full == plain or find(full) is not None:
        return full
    return plain if torch.Tag.pointwise in target.tags or _alone(plain) else full


def facts_of(target: Any) -> Operator:
    """What is known of an operator of torch, whichever overload it is; of one that writes in place, that of
    its functional twin."""
    schema = getattr(target, "_schema", None)
    if schema is None:
        return NOTHING
    return known_of(schema.name.removesuffix("_") if schema.is_mutable else schema.name)


@cache
def _alone(name: str) -> bool:
    """Whether an operator has a single overload, but for those that write to their operands."""
    space, _, own = name.partition("::")
    packet = getattr(getattr(torch.ops, space), own)
    schemas = [getattr(packet, overload)._schema for overload in packet.overloads()]
    return sum(not schema.is_mutable for schema in schemas) == 1
