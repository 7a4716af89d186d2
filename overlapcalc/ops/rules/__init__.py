"""What each operator reads, a family to a module; importing them registers their rules. A family imports no other."""

from . import (
    attention,
    bits,
    concat,
    conv,
    index,
    matmul,
    norm,
    pad,
    pointwise,
    pool,
    recurrent,
    reduce,
    resize,
    shape,
    shuffle,
    windows,
)

__all__ = [
    "attention",
    "bits",
    "concat",
    "conv",
    "index",
    "matmul",
    "norm",
    "pad",
    "pointwise",
    "pool",
    "recurrent",
    "reduce",
    "resize",
    "shape",
    "shuffle",
    "windows",
]
