"""A restorer without activation functions: its channel attention takes the mean over the whole image in every block.

The shape is that of NAFNet (Chen et al., "Simple Baselines for Image Restoration", ECCV 2022).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(x.permute(0, 2, 3, 1))
        return y.permute(0, 3, 1, 2)


class SimpleGate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=1)
        return a * b


class ChannelAttention(nn.Module):
    """The simplified one: a mean over the image, and a matrix."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weigh(x)


class Block(nn.Module):
    """beta and gamma begin at 1, and not at 0 as they do for training: a block that starts as the identity hides what
    it reads."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        c = channels
        self.spatial = nn.Sequential(
            ChannelNorm(c), nn.Conv2d(c, 2 * c, 1), nn.Conv2d(2 * c, 2 * c, 3, padding=1, groups=2 * c), SimpleGate(),
            ChannelAttention(c), nn.Conv2d(c, c, 1),
        )  # fmt: skip
        self.feed_forward = nn.Sequential(ChannelNorm(c), nn.Conv2d(c, 2 * c, 1), SimpleGate(), nn.Conv2d(c, c, 1))
        self.beta, self.gamma = (nn.Parameter(torch.ones(1, c, 1, 1)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        y = x + self.spatial(x) * self.beta
        return y + self.feed_forward(y) * self.gamma


def blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Block(channels) for _ in range(count)))


class NAFNet(nn.Module):
    """width: channels at full size. encoder, middle, decoder: blocks per level; decoder from the coarsest level on."""

    def __init__(
        self, width: int = 8, encoder: Sequence[int] = (1, 1), middle: int = 1, decoder: Sequence[int] = (1, 1)
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(len(encoder))]
        self.intro, self.ending = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1)
        self.encoders = nn.ModuleList(blocks(c, n) for c, n in zip(widths, encoder, strict=True))
        self.downs = nn.ModuleList(nn.Conv2d(c, 2 * c, 2, 2) for c in widths)
        self.middle = blocks(2 * widths[-1], middle)
        self.ups = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2 * c, 4 * c, 1, bias=False), nn.PixelShuffle(2)) for c in reversed(widths)
        )
        self.decoders = nn.ModuleList(blocks(c, n) for c, n in zip(reversed(widths), decoder, strict=True))

    def forward(self, image: Tensor) -> Tensor:
        step = 2 ** len(self.downs)
        height, width = image.shape[2:]
        x = self.intro(F.pad(image, (0, -width % step, 0, -height % step)))
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            skips.append(encoder(x))
            x = down(skips[-1])
        x = self.middle(x)
        for up, decoder, skip in zip(self.ups, self.decoders, reversed(skips), strict=True):
            x = decoder(up(x) + skip)
        return self.ending(x)[:, :, :height, :width] + image
