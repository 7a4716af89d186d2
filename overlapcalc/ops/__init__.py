"""Operator rules, one file per family. Importing this package registers them all."""

from . import (
    attention,
    bits,
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
from .overloads import full_name
from .registry import find, op_name, rule, steps_before, unregister

__all__ = [
    "Call",
    "attention",
    "bits",
    "conv",
    "find",
    "full_name",
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
