"""The checkerboard context of He et al. 2021: anchors are coded first, then the others, which see the anchors.

Anchors are the positions whose row and column add up to an even number, counted from the whole image's corner: a
block starts on an even row and column, or its board is turned over.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .masked import MaskedConv2d


def anchors(like: Tensor) -> Tensor:
    """True where a position of `like` is an anchor, of shape (height, width)."""
    rows, columns = (torch.arange(n, device=like.device) for n in like.shape[-2:])
    return (rows[:, None] + columns) % 2 == 0


class CheckerboardConv2d(MaskedConv2d):
    """A convolution that reads, at a position of one colour, the other colour only."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 5) -> None:
        taps = torch.arange(kernel)
        super().__init__(inputs, outputs, (taps[:, None] + taps) % 2 == 1, "a checkerboard")
