"""Convolutions and residual blocks of learned image codecs, under CompressAI's names for their parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .gdn import GDN


def conv(inputs: int, outputs: int, kernel: int = 5, stride: int = 2) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)


def deconv(inputs: int, outputs: int, kernel: int = 5, stride: int = 2) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, kernel, stride, kernel // 2, output_padding=stride - 1)


def subpixel(inputs: int, outputs: int) -> nn.Sequential:
    """Twice as many samples each way: a convolution and a pixel shuffle."""
    return nn.Sequential(conv(inputs, 4 * outputs, 3, 1), nn.PixelShuffle(2))


class ResidualBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels, 3, 1)
        self.leaky_relu = nn.LeakyReLU()
        self.conv2 = conv(channels, channels, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.leaky_relu(self.conv2(self.leaky_relu(self.conv1(x))))
        return y + x


class ResidualDown(nn.Module):
    """A residual block of half the size each way."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = conv(inputs, outputs, 3, 2)
        self.leaky_relu = nn.LeakyReLU()
        self.conv2 = conv(outputs, outputs, 3, 1)
        self.gdn = GDN(outputs)
        self.skip = conv(inputs, outputs, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.gdn(self.conv2(self.leaky_relu(self.conv1(x))))
        return y + self.skip(x)


class ResidualUp(nn.Module):
    """A residual block of twice the size each way."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.subpel_conv = subpixel(inputs, outputs)
        self.leaky_relu = nn.LeakyReLU()
        self.conv = conv(outputs, outputs, 3, 1)
        self.igdn = GDN(outputs, inverse=True)
        self.upsample = subpixel(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.igdn(self.conv(self.leaky_relu(self.subpel_conv(x))))
        return y + self.upsample(x)


class Bottleneck(nn.Module):
    """A residual block of half the channels: 1x1, 3x3, 1x1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = conv(channels, half, 1, 1)
        self.conv2 = conv(half, half, 3, 1)
        self.conv3 = conv(half, channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv3(torch.relu(self.conv2(torch.relu(self.conv1(x)))))
        return y + x


class _Unit(nn.Module):
    """Of attention: a bottleneck with its convolutions in one sequence, and a last ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv = nn.Sequential(
            conv(channels, half, 1, 1), nn.ReLU(), conv(half, half, 3, 1), nn.ReLU(), conv(half, channels, 1, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x) + x)


class Attention(nn.Module):
    """x + a * sigmoid(b), a and b from neighbours (Cheng et al. 2020, simplified): local, unlike other attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_a = nn.Sequential(*(_Unit(channels) for _ in range(3)))
        self.conv_b = nn.Sequential(*(_Unit(channels) for _ in range(3)), conv(channels, channels, 1, 1))
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.conv_a(x) * self.sigmoid(self.conv_b(x))
        return y
