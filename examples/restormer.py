"""A restorer whose attention is between channels: a product over all pixels, normalised by norms over all pixels.

The shape is that of Restormer (Zamir et al., CVPR 2022): multi-Dconv head transposed attention and gated-Dconv
feed-forward in a U.
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
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = x.flatten(2).transpose(1, 2)
        y = F.layer_norm(y, y.shape[2:], self.weight, self.bias)
        return y.transpose(1, 2).reshape(x.shape)


def depthwise(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)


class TransposedAttention(nn.Module):
    """A matrix of channels by channels, so that its cost grows with the image and not with its square."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads, self.temperature = heads, nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Sequential(nn.Conv2d(channels, 3 * channels, 1, bias=False), depthwise(3 * channels))
        self.out = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        parts = self.qkv(x).reshape(batch, 3, self.heads, channels // self.heads, height * width)
        q, k, v = parts.unbind(1)
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        mixed = (q @ k.transpose(-2, -1) * self.temperature).softmax(dim=-1) @ v
        y: Tensor = self.out(mixed.reshape(batch, channels, height, width))
        return y


class GatedFeedForward(nn.Module):
    def __init__(self, channels: int, expansion: float) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        self.wide = nn.Sequential(nn.Conv2d(channels, 2 * hidden, 1, bias=False), depthwise(2 * hidden))
        self.out = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, y = self.wide(x).chunk(2, dim=1)
        narrow: Tensor = self.out(F.gelu(gate) * y)
        return narrow


class Block(nn.Module):
    def __init__(self, channels: int, heads: int, expansion: float = 2.66) -> None:
        super().__init__()
        self.norm1, self.attention = ChannelNorm(channels), TransposedAttention(channels, heads)
        self.norm2, self.feed_forward = ChannelNorm(channels), GatedFeedForward(channels, expansion)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.feed_forward(self.norm2(x))


def conv(inputs: int, outputs: int, size: int = 3) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)


class Restormer(nn.Module):
    """width: channels at full size. heads: per level, the finest first; blocks: how many on each level."""

    def __init__(self, width: int = 8, heads: Sequence[int] = (1, 2), blocks: int = 1) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(len(heads))]

        def level(i: int) -> nn.Sequential:
            return nn.Sequential(*(Block(widths[i], heads[i]) for _ in range(blocks)))

        fine = range(len(heads) - 1)
        self.embed, self.out = conv(3, width), conv(width, 3)
        self.encoders = nn.ModuleList(level(i) for i in fine)
        self.downs = nn.ModuleList(nn.Sequential(conv(widths[i], widths[i] // 2), nn.PixelUnshuffle(2)) for i in fine)
        self.latent = level(len(heads) - 1)
        self.ups = nn.ModuleList(
            nn.Sequential(conv(widths[i + 1], 2 * widths[i + 1]), nn.PixelShuffle(2)) for i in reversed(fine)
        )
        self.merges = nn.ModuleList(conv(2 * widths[i], widths[i], 1) for i in reversed(fine))
        self.decoders = nn.ModuleList(level(i) for i in reversed(fine))

    def forward(self, image: Tensor) -> Tensor:
        x = self.embed(image)
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            skips.append(encoder(x))
            x = down(skips[-1])
        x = self.latent(x)
        for up, merge, decoder, skip in zip(self.ups, self.merges, self.decoders, reversed(skips), strict=True):
            x = decoder(merge(torch.cat([up(x), skip], dim=1)))
        return self.out(x) + image
