"""What kinds of operators there are, as far as others than their laws ask."""

from __future__ import annotations

from enum import Enum


class Kind(str, Enum):
    """The kind of an operator.

    CONVOLUTION, TRANSPOSED_CONVOLUTION: `weight` is a kernel; what is zero in it for good is not read.
    MATRIX_PRODUCT: what is zero for good in a factor is not read.
    ADAPTIVE_POOLING: to a size, in windows that follow from it.
    UNPOOLING: undoes a pooling, from the positions that it gave.
    NORM: a normalisation, or the norm of a vector.
    DROPOUT: gives what it is given, unless it draws.
    RESIZE: resamples at positions that torch computes in the type of the samples.
    COPY: gives what it is given.
    LIKE: looks at no more than the shape and the type of its first operand.
    RECAST: reads memory as numbers of another type.
    """

    CONVOLUTION = "convolution"
    TRANSPOSED_CONVOLUTION = "transposed convolution"
    MATRIX_PRODUCT = "matrix product"
    POOLING = "pooling"
    ADAPTIVE_POOLING = "adaptive pooling"
    UNPOOLING = "unpooling"
    NORM = "norm"
    DROPOUT = "dropout"
    RESIZE = "resize"
    CONCATENATION = "concatenation"
    COPY = "copy"
    LIKE = "like"
    RECAST = "recast"


CONVOLUTIONS = frozenset({Kind.CONVOLUTION, Kind.TRANSPOSED_CONVOLUTION})
WINDOWED = CONVOLUTIONS | {Kind.POOLING, Kind.ADAPTIVE_POOLING, Kind.UNPOOLING}
"""Kinds that work in windows."""
