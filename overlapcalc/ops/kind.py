"""The kinds of operators that matter to more than their laws."""

from __future__ import annotations

from enum import Enum


class Kind(str, Enum):
    """The kind of an operator.

    CONVOLUTION, TRANSPOSED_CONVOLUTION: `weight` is a kernel; a tap that is zero for good is not read.
    MATRIX_PRODUCT: what a factor zeroes for good is not read.
    ADAPTIVE_POOLING: to a size, in windows that follow from it.
    UNPOOLING: undoes a pooling, given the positions of its maxima.
    NORM: a normalisation, or the norm of a vector.
    DROPOUT: returns its operand, unless it draws.
    RESIZE: resamples at positions that torch computes in the type of the samples.
    COPY: returns its operand.
    LIKE: uses only the shape and the type of its first operand.
    AS: uses only the shape or the type of its second operand.
    PADDING: pads with a constant.
    SPLIT: gives pieces of a dimension.
    PICK: takes one index of a dimension.
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
    AS = "as"
    PADDING = "padding"
    SPLIT = "split"
    PICK = "pick"
    RECAST = "recast"


CONVOLUTIONS = frozenset({Kind.CONVOLUTION, Kind.TRANSPOSED_CONVOLUTION})
WINDOWED = CONVOLUTIONS | {Kind.POOLING, Kind.ADAPTIVE_POOLING, Kind.UNPOOLING}
"""Kinds that work in windows."""


class Masking(str, Enum):
    """What an operator does with samples that a mask has left out: scores at minus infinity, weights of zero.

    MOVES: what is left out stays so, wherever it goes. SCALES: so it does where the other factor is positive; a zero
    always. ADDS: minus infinity is left of a sum with it. FILLS: where `mask` is true, there is `value`. CHOOSES: where
    `condition` is true there is `self`, elsewhere `other`. SOFTENS: minus infinity becomes a weight of zero, as long as
    there is something else along `dim`. WEIGHS: of the right factor of a product, what has a weight of zero in the left
    one does not count. ATTENDS: what its mask leaves out does not count.
    """

    MOVES = "moves"
    SCALES = "scales"
    ADDS = "adds"
    FILLS = "fills"
    CHOOSES = "chooses"
    SOFTENS = "softens"
    WEIGHS = "weighs"
    ATTENDS = "attends"
