"""JPEG AI (ISO/IEC 6048-1), base operating point: the analysis and synthesis transforms of luma.

A re-implementation from the shapes of the reference software, as public ports of it state them; without its weights,
its fixed-point arithmetic and its tools, and for sizes that are multiples of 16, where it neither pads nor crops.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from examples.lic.layers import conv
from examples.lic.recurrences import Chain, shuffle, tconv
from examples.lic.recurrences import conv as layer

CHANNELS = 160
"""Of the luma latents."""


class ResAU(nn.Module):
    """Residual activation: x * (1 + m), m by a 3x3 convolution in groups of 16 channels and a 1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels // 16, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * (1 + self.conv2(self.conv(F.relu6(x))))


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv1(x)) + x


def analysis(wide: int = 128, latents: int = CHANNELS) -> nn.Sequential:
    """One channel in, `latents` out; 16 samples to one latent. wide: a multiple of 16."""
    return nn.Sequential(
        conv(1, wide, 3), ResAU(wide), conv(wide, wide, 3), ResAU(wide), conv(wide, wide, 3), ResAU(wide),
        conv(wide, latents, 3), nn.Conv2d(latents, latents, 1, bias=False),
    )  # fmt: skip


def synthesis(latents: int = CHANNELS) -> nn.Sequential:
    return nn.Sequential(
        Residual(latents), nn.ConvTranspose2d(latents, 64, 4, 2, 1), ResAU(64),
        nn.ConvTranspose2d(64, 64, 4, 2, 1), ResAU(64), conv(64, 96, 3, 1), ResAU(96),
        nn.Conv2d(96, 16, 1, bias=False), nn.PixelShuffle(4),
    )  # fmt: skip


CHAINS: dict[str, Chain] = {
    "g_a": 3 * (layer(3, 2) + layer(3)) + layer(3, 2),
    "g_s": layer(3) + tconv(4) + layer(3) + tconv(4) + layer(3) + layer(3) + layer(3) + shuffle(4),
}
"""For the recurrences."""

STANDARD = {"g_a": 32, "g_s": 2}
"""The overlap that the standard's tiles have by default on each side, in samples of the transform's input."""
