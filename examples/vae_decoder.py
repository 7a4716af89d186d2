"""The decoder of a latent diffusion model: every group norm and its attention over all pixels look at the whole image.

The shape is that of AutoencoderKL (Rombach et al., CVPR 2022): a middle with attention, then residual blocks, each
level twice as large as the one below.
"""

from __future__ import annotations

import itertools

import torch.nn.functional as F
from torch import Tensor, nn


def norm(channels: int) -> nn.GroupNorm:
    """Over at most 32 groups of at least 4 channels."""
    return nn.GroupNorm(min(32, max(channels // 4, 1)), channels, eps=1e-6)


class ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = norm(inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2, self.conv2 = norm(outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        shortcut: Tensor = self.skip(x)
        return shortcut + y


class PixelAttention(nn.Module):
    """Every pixel looks at every pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v, self.out = (nn.Linear(channels, channels) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        pixels = self.norm(x).flatten(2).transpose(1, 2)
        y = self.out(F.scaled_dot_product_attention(self.q(pixels), self.k(pixels), self.v(pixels)))
        return x + y.transpose(1, 2).reshape(x.shape)


class Upsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return y


class Decoder(nn.Module):
    """channels: of each level, the finest first; every level but the finest is followed by an upsampling."""

    def __init__(self, *channels: int, latents: int = 4, blocks: int = 3) -> None:
        super().__init__()
        levels = tuple(reversed(channels or (16, 32)))
        self.conv_in = nn.Conv2d(latents, levels[0], 3, padding=1)
        self.middle = nn.Sequential(
            ResidualBlock(levels[0], levels[0]), PixelAttention(levels[0]), ResidualBlock(levels[0], levels[0])
        )
        ups: list[nn.Module] = []
        for i, (before, here) in enumerate(itertools.pairwise((levels[0], *levels))):
            ups += [ResidualBlock(before if k == 0 else here, here) for k in range(blocks)]
            ups += [Upsample(here)] if i < len(levels) - 1 else []
        self.up = nn.Sequential(*ups)
        self.norm_out, self.conv_out = norm(levels[-1]), nn.Conv2d(levels[-1], 3, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        y = self.up(self.middle(self.conv_in(latents)))
        image: Tensor = self.conv_out(F.silu(self.norm_out(y)))
        return image
