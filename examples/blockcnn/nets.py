"""The published net, the form that the paper draws, and how either is run on windows of a picture.

Maleki et al., "BlockCNN: A Deep Network for Artifact Removal and Image Compression". The net sees a window, and gives
the block in it. Its 3x3 convolutions are padded by zeros *within the window*, so a window's result is no crop of what
the net makes of a whole picture: `Windows` runs it as it is meant.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

WINDOW, BLOCK = 24, 8
"""A block of JPEG with its eight neighbours, and the block."""
PUBLISHED = ((3, 5), (3, 5), (1, 5))
"""Rows and columns of the convolutions that are not padded, in the code that the authors published: 16x24 to 12x12."""
DRAWN = ((7, 7), (7, 7), (5, 5))
"""Kernels that take 24x24 to 8x8, as the paper's figure has it. The figure names sizes; these kernels are ours."""


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1, all of full width, beside the input itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.way = nn.Sequential(
            *_layer(channels, channels, (1, 1)),
            *_layer(channels, channels, (3, 3), padding=1),
            *_layer(channels, channels, (1, 1))[:-1],
        )
        self.activation = nn.LeakyReLU(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.way(x) + x)


class BlockCNN(nn.Sequential):
    """A window, (batch, 3, height, width), to its block, from 0 to 255.

    k: channels of the first layer. kernels: of the three convolutions that are not padded.
    """

    def __init__(self, k: int = 64, kernels: Sequence[tuple[int, int]] = PUBLISHED) -> None:
        first, second, third = kernels
        stages: list[tuple[int, int, tuple[int, int], int]] = [
            (3, k, first, 2),
            (k, 2 * k, second, 1),
            (2 * k, 4 * k, third, 2),
            (4 * k, 8 * k, (1, 1), 1),
            (8 * k, 4 * k, (1, 1), 1),
            (4 * k, 2 * k, (1, 1), 1),
            (2 * k, k, (1, 1), 1),
        ]
        layers: list[nn.Module] = []
        for inputs, outputs, kernel, bottlenecks in stages:
            layers += [*_layer(inputs, outputs, kernel), *(Bottleneck(outputs) for _ in range(bottlenecks))]
        super().__init__(*layers, nn.Conv2d(k, 3, 1, bias=False), nn.Sigmoid(), Levels())


class Levels(nn.Module):
    """From 0 to 1, to 0 to 255."""

    def forward(self, x: Tensor) -> Tensor:
        return 255 * x


def _layer(inputs: int, outputs: int, kernel: tuple[int, int], *, padding: int = 0) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.1),
    ]


def folded(net: nn.Module) -> nn.Module:
    """A copy for inference, with every batch norm in the convolution before it: what `exact` takes."""
    made = copy.deepcopy(net).eval()
    for stage in made.modules():
        if isinstance(stage, nn.Sequential):
            for (name, layer), (after, norm) in itertools.pairwise(list(stage.named_children())):
                if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    setattr(stage, name, fuse_conv_bn_eval(layer, norm))
                    setattr(stage, after, nn.Identity())
    return made


class Windows(nn.Module):
    """A net from windows to the blocks in their middles, on every block of a picture: unfold, net, fold.

    The picture, (1, channels, height, width), is continued by its last samples, for whole blocks and for what the
    windows of the first and last blocks read beyond it.
    """

    def __init__(self, net: nn.Module, window: int = WINDOW, block: int = BLOCK) -> None:
        if (window - block) % 2 or window < block:
            raise ValueError(f"windows of {window} for blocks of {block}: expected as much on either side of the block")
        super().__init__()
        self.net, self.window, self.block = net, window, block

    def forward(self, x: Tensor) -> Tensor:
        _, channels, height, width = x.shape
        around, block = (self.window - self.block) // 2, self.block
        more = around + -height % block, around + -width % block
        padded = F.pad(x, (around, more[1], around, more[0]), "replicate")
        windows = F.unfold(padded, self.window, stride=block)
        blocks = self.net(windows[0].T.reshape(-1, channels, self.window, self.window))
        whole = (height + -height % block, width + -width % block)
        return F.fold(blocks.flatten(1).T[None], whole, block, stride=block)[:, :, :height, :width]
