"""What the papers say that a block needs: the recurrences of Kim et al. (CVPR 2026) and the rule of CPS.

A transform is the longest chain of its layers, in the order in which they run. Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal, NamedTuple


class Overlap(NamedTuple):
    """Samples of a transform's input, before and after a block."""

    before: int
    after: int


@dataclass(frozen=True)
class Layer:
    """kind "shuffle": a pixel shuffle by `stride`."""

    kind: Literal["conv", "tconv", "shuffle"]
    kernel: int
    stride: int


Chain = tuple[Layer, ...]


def conv(kernel: int, stride: int = 1) -> Chain:
    return (Layer("conv", kernel, stride),)


def tconv(kernel: int, stride: int = 2) -> Chain:
    return (Layer("tconv", kernel, stride),)


def shuffle(factor: int = 2) -> Chain:
    return (Layer("shuffle", 1, factor),)


def kim(chain: Sequence[Layer]) -> Overlap:
    """The published overlap: four `conv(5, 2)` give (30, 15), four `tconv(5, 2)` (2, 3). Raises ValueError for a chain
    that goes up and down, which the paper does not treat."""
    if all(layer.kind == "conv" for layer in chain):
        return _backward(chain)
    if any(layer.kind == "conv" and layer.stride > 1 for layer in chain):
        raise ValueError(f"{list(chain)}: the recurrences are for chains that go down, or up, not both")
    return Overlap(*(_smallest_start(chain, side) for side in (0, 1)))


def _backward(chain: Sequence[Layer]) -> Overlap:
    """From a block of the output, that needs nothing beside it, back to the input."""
    before = after = 0
    for layer in reversed(chain):
        centre = (layer.kernel - 1) // 2
        before = layer.stride * before + centre
        after = layer.stride * after + max(0, layer.kernel - 1 - centre - (layer.stride - 1))
    return Overlap(before, after)


def _smallest_start(chain: Sequence[Layer], side: int) -> int:
    """The least overlap of the input that has not been used up at the output."""
    return next(start for start in count() if _left(chain, start, side) >= 0)


def _left(chain: Sequence[Layer], overlap: int, side: int) -> int:
    for layer in chain:
        centre = (layer.kernel - 1) // 2
        other = layer.kernel - 1 - centre
        if layer.kind == "conv":
            overlap -= other if side else centre
        elif layer.kind == "shuffle":
            overlap *= layer.stride
        else:
            overlap = layer.stride * overlap - (centre + layer.stride - 1 if side else other)
    return overlap


def pops(field: int, scale: int) -> int:
    """The overlap of neighbouring patches by CPS (Zhang et al., arXiv 2502.16795): receptive field 72 and scale 16
    give 64."""
    return field - scale if field % scale == 0 else scale * (field // scale)
