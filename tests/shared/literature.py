"""Nets of the literature on learned compression, and what is published or proved of them (design.md)."""

from __future__ import annotations

from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import nn


def conv(c: int, out: int, k: int, s: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c, out, k, s, k // 2)


def deconv(c: int, out: int, k: int = 5) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(c, out, k, 2, k // 2, output_padding=1)


def g_a(c: int = 4) -> nn.Sequential:
    return nn.Sequential(conv(3, c, 5, 2), nn.ReLU(), conv(c, c, 5, 2), nn.ReLU(), conv(c, c, 5, 2), conv(c, c, 5, 2))


def g_s(c: int = 4) -> nn.Sequential:
    return nn.Sequential(deconv(c, c), nn.ReLU(), deconv(c, c), deconv(c, c), deconv(c, 3))


def h_a(c: int = 4) -> nn.Sequential:
    return nn.Sequential(conv(c, c, 3), nn.ReLU(), conv(c, c, 5, 2), nn.ReLU(), conv(c, c, 5, 2))


def h_s(c: int = 4) -> nn.Sequential:
    return nn.Sequential(deconv(c, c), nn.ReLU(), deconv(c, c), nn.ReLU(), conv(c, c, 3))


class ResidualStride(nn.Module):
    """Cheng 2020: conv3 stride 2, conv3, GDN; a strided 1x1 skip."""

    def __init__(self, c: int, out: int) -> None:
        super().__init__()
        self.conv1, self.conv2, self.skip = conv(c, out, 3, 2), conv(out, out, 3), nn.Conv2d(c, out, 1, 2)

    def forward(self, x):
        return self.conv2(F.leaky_relu(self.conv1(x))) + self.skip(x)


class Residual(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(c, c, 3), conv(c, c, 3)

    def forward(self, x):
        return x + self.conv2(F.leaky_relu(self.conv1(x)))


def subpixel(c: int, out: int) -> nn.Sequential:
    return nn.Sequential(conv(c, 4 * out, 3), nn.PixelShuffle(2))


class ResidualUp(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.up, self.conv, self.skip = subpixel(c, c), conv(c, c, 3), subpixel(c, c)

    def forward(self, x):
        return self.conv(F.leaky_relu(self.up(x))) + self.skip(x)


def cheng_g_a(c: int = 4) -> nn.Sequential:
    return nn.Sequential(
        ResidualStride(3, c), Residual(c), ResidualStride(c, c), Residual(c), ResidualStride(c, c), Residual(c),
        conv(c, c, 3, 2),
    )  # fmt: skip


def cheng_g_s(c: int = 4) -> nn.Sequential:
    return nn.Sequential(
        Residual(c), ResidualUp(c), Residual(c), ResidualUp(c), Residual(c), ResidualUp(c), Residual(c), subpixel(c, 3)
    )


class BRB(nn.Module):
    """CPS bottleneck residual block: 3x3 convolution and 3x3 transposed convolution, no padding, a 1x1 skip."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv, self.back, self.skip = nn.Conv2d(c, c, 3), nn.ConvTranspose2d(c, c, 3), nn.Conv2d(c, c, 1)

    def forward(self, x):
        return self.skip(x) + self.back(F.relu(self.conv(x)))


def cps(c: int = 4) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, c, 2, 2), BRB(c), nn.Conv2d(c, c, 2, 2), BRB(c), nn.Conv2d(c, c, 2, 2), BRB(c),
        nn.Conv2d(c, c, 2, 2),
    )  # fmt: skip


class UNet(nn.Module):
    """conv3, max-pool 2, conv3, max-pool 2, conv3, tconv k2 s2, cat, conv3, tconv k2 s2, cat, conv3."""

    def __init__(self, c: int = 3) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(3, c, 3), conv(c, c, 3), conv(c, c, 3)
        self.up1, self.d = nn.ConvTranspose2d(c, c, 2, 2), conv(2 * c, c, 3)
        self.up2, self.e = nn.ConvTranspose2d(c, c, 2, 2), conv(2 * c, c, 3)

    def forward(self, x):
        a = self.a(x)
        b = self.b(F.max_pool2d(a, 2))
        c = self.c(F.max_pool2d(b, 2))
        d = self.d(torch.cat([self.up1(c), b], 1))
        return self.e(torch.cat([self.up2(d), a], 1))


# name, net, input channels, size, (context), (receptive field), scale; from the table of design.md
TRUTHS = [
    ("hyperprior g_a", g_a(), 3, 256, (30, 15), (61, 61), Fraction(16)),
    ("hyperprior g_s", g_s(), 4, 16, (1, 2), (3, 4), Fraction(1, 16)),
    ("h_a", h_a(), 4, 64, (7, 4), (15, 15), Fraction(4)),
    ("h_s", h_s(), 4, 16, (1, 2), None, Fraction(1, 4)),
    ("g_a then h_a", nn.Sequential(g_a(), h_a()), 3, 512, (142, 79), (285, 285), Fraction(64)),
    ("Cheng 2020 g_a", cheng_g_a(), 3, 256, (57, 42), None, Fraction(16)),
    ("Cheng 2020 g_s", cheng_g_s(), 4, 32, (7, 7), None, Fraction(1, 16)),
    ("U-Net", UNet(), 3, 64, (11, 11), (22, 26), Fraction(1)),
    ("strided, then nearest", nn.Sequential(conv(3, 3, 3, 2), nn.Upsample(scale_factor=2), conv(3, 3, 3)), 3, 32,
     (3, 2), None, Fraction(1)),
]  # fmt: skip
