"""The small remover: linear filters by position in a block of JPEG, and convolutions on their result.

Pictures are YCbCr planes, (1, 3, height, width), in levels from -128 to 127. Nothing is padded between layers, so the
net on a picture is the net on each of its windows.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

JPEG = 8
"""Samples of a block of JPEG, each way."""
SCALE = 1 / 32
"""What the convolutions read of a level: a power of two, so it rounds nothing."""

SLOPE = 0.1
"""Of the activations below 0."""


@dataclass(frozen=True)
class Shape:
    """halved: whether chroma has half as many rows and columns (4:2:0). k, layers: of the convolutions.

    >>> Shape(halved=True).grid, Shape().margin
    (16, 16)
    """

    halved: bool = False
    k: int = 16
    layers: int = 8

    def __post_init__(self) -> None:
        if self.k < 1 or self.layers < 2:
            raise ValueError(f"{self}: expected at least one channel and two layers")

    @property
    def grid(self) -> int:
        """Blocks of all planes begin at multiples of this."""
        return 2 * JPEG if self.halved else JPEG

    @property
    def margin(self) -> int:
        """Samples that a block reads on each side: convolutions of 3x3 on blocks, and those read windows."""
        return -(-self.layers // self.grid) * self.grid + JPEG


class Filters(nn.Module):
    """One linear filter for every position in a block: a correction of one plane.

    The window is the block and the 8 samples around it. A halved plane is filtered at its own size: the block of 16
    there is one of JPEG's 8x8 coefficients.
    """

    def __init__(self, *, halved: bool = False) -> None:
        super().__init__()
        self.halved = halved
        outputs, window = ((2 * JPEG) ** 2, 2 * JPEG) if halved else (JPEG**2, 3 * JPEG)
        self.positions = nn.Conv2d(1, outputs, window, stride=JPEG)

    def forward(self, plane: Tensor) -> Tensor:
        """(batch, 1, height, width), of whole blocks and 8 more on every side, to (batch, 1, height - 16, width - 16).

        The filters read what the plane was before it was enlarged, nearly: the means of 2x2 samples.
        """
        if self.halved:
            plane = means(plane)
        return F.pixel_shuffle(self.positions(plane), 2 * JPEG if self.halved else JPEG)


class Remover(nn.Module):
    """(1, 3, height, width) to the same, for any height and width.

    The picture is continued beyond its border by its last samples: what JPEG coded there is not in the file any more.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.luma, self.chroma = Filters(), Filters(halved=shape.halved)
        widths = [6, *[shape.k] * (shape.layers - 1), 3]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 3), nn.LeakyReLU(SLOPE)]
        self.body = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        return self.inside(self.padded(x))[:, :, :height, :width]

    def padded(self, x: Tensor) -> Tensor:
        """To whole blocks, and the margin on every side."""
        height, width = x.shape[2:]
        margin, grid = self.shape.margin, self.shape.grid
        return F.pad(x, (margin, margin + -width % grid, margin, margin + -height % grid), "replicate")

    def inside(self, padded: Tensor) -> Tensor:
        """What becomes of the blocks within the margin."""
        linear = self.linear(padded)
        reach = self.shape.layers
        rest = self.shape.margin - JPEG - reach
        around = _within(padded, JPEG + rest)
        linear = _within(linear, rest)
        change = self.body(torch.cat([around, linear], 1) * SCALE) * (1 / SCALE)
        return _within(around, reach) + _within(linear, reach) + change

    def linear(self, padded: Tensor) -> Tensor:
        """The corrections by filters, 8 samples fewer on every side."""
        return torch.cat([self.luma(padded[:, :1]), self.chroma(padded[:, 1:2]), self.chroma(padded[:, 2:])], 1)


def means(plane: Tensor) -> Tensor:
    """Of 2x2 samples, summed in a fixed order: a pooling may sum in another one in each kernel.

    >>> means(torch.arange(8.0).reshape(1, 1, 2, 4)).tolist()
    [[[[2.5, 4.5]]]]
    """
    rows = plane[:, :, ::2] + plane[:, :, 1::2]
    return (rows[..., ::2] + rows[..., 1::2]) * 0.25


def _within(x: Tensor, less: int) -> Tensor:
    return x[:, :, less : x.shape[2] - less, less : x.shape[3] - less]
