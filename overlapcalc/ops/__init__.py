"""Operator rules, one file per family. Importing this package registers them all."""

from . import (
    attention,
    conv,
    join,
    norm,
    pad,
    parts,
    pointwise,
    pool,
    product,
    recurrent,
    reduce,
    resize,
    select,
    shape,
    shuffle,
    windows,
)
from .call import Call
from .registry import find, op_name, rule, steps_before, unregister

__all__ = [
    "Call",
    "attention",
    "conv",
    "find",
    "join",
    "norm",
    "op_name",
    "pad",
    "parts",
    "pointwise",
    "pool",
    "product",
    "recurrent",
    "reduce",
    "resize",
    "rule",
    "select",
    "shape",
    "shuffle",
    "steps_before",
    "unregister",
    "windows",
]
