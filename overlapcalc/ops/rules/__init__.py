"""What each operator reads, one family per module. Importing them registers their rules. No family imports another."""

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
