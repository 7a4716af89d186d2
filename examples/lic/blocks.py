"""Blocks as positions: their samples become channels, and masked convolutions read the blocks that come earlier."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .masked import MaskedConv2d


def blocks_to_channels(x: Tensor, block: int) -> Tensor:
    """(batch, 3, height, width) to (batch, 3 block^2, height / block, width / block).

    Sample (v, h) of colour c becomes channel (v * block + h) * 3 + c: by position first, where `PixelUnshuffle` goes by
    colour first.

    >>> blocks_to_channels(torch.arange(12.0).reshape(1, 3, 2, 2), 2).flatten().tolist()
    [0.0, 4.0, 8.0, 1.0, 5.0, 9.0, 2.0, 6.0, 10.0, 3.0, 7.0, 11.0]
    """
    by_colour = F.pixel_unshuffle(x, block)
    batch, _, rows, columns = by_colour.shape
    return by_colour.reshape(batch, 3, block**2, rows, columns).transpose(1, 2).flatten(1, 2)


def channels_to_blocks(y: Tensor, block: int) -> Tensor:
    """The inverse of `blocks_to_channels`."""
    batch, _, rows, columns = y.shape
    by_colour = y.reshape(batch, block**2, 3, rows, columns).transpose(1, 2).flatten(1, 2)
    return F.pixel_shuffle(by_colour, block)


def causal(inputs: int, outputs: int, kernel: int, *, own: bool) -> MaskedConv2d:
    """A convolution that reads rows above, and of its own row what is to the left.

    own: its own place, too. The literature calls a mask without it type A, one with it type B.
    """
    centre = kernel // 2
    taps = torch.zeros(kernel, kernel, dtype=torch.bool)
    taps[:centre] = True
    taps[centre, : centre + own] = True
    return MaskedConv2d(inputs, outputs, taps, f"a causal mask of type {'B' if own else 'A'}")


def open_taps(layer: nn.Module) -> int:
    """How many taps of a convolution are open. In a causal mask they are the first ones, row by row."""
    assert isinstance(layer, nn.Conv2d)
    return int(layer.mask[0, 0].sum()) if isinstance(layer, MaskedConv2d) else layer.weight[0, 0].numel()
