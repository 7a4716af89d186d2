"""The figures of the literature and of design: measured by brute force or published, never read off our own output."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from nets import healthy
from oracle import Dependency
from torch import nn

import overlapcalc as oc


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


@pytest.mark.parametrize(
    ("name", "net", "channels", "size", "context", "field", "scale"), TRUTHS, ids=lambda v: str(v)[:24]
)
def test_table_of_truths(name, net, channels, size, context, field, scale):
    a = oc.analyze(net, (1, channels, size, size))
    for axis in ("H", "W"):
        w = a[axis]
        assert tuple(w.context) == context, name
        assert w.exact
        assert w.scale == scale
        if field is not None:
            assert w.receptive_field == field


def test_cps_encoder():
    """arXiv 2502.16795: receptive field 72, scale 16, exact overlap 56; the POPS rule gives 64, which is the grid's."""
    w = oc.analyze(cps(), (1, 3, 256, 256))["W"]
    assert w.receptive_field == (72, 72)
    assert w.scale == 16
    assert w.context.total == 56
    r, rho = w.receptive_field[1], w.scale
    pops = r - rho if r % rho == 0 else rho * (r // rho)
    assert pops == 64
    assert -(-w.context.total // w.step) * w.step == pops


def test_unet_three_numbers():
    w = oc.analyze(UNet(), (1, 3, 64, 64))["W"]
    assert (tuple(w.reach), tuple(w.context), tuple(w.tile), w.step) == ((13, 13), (11, 11), (12, 12), 4)


def test_strided_then_nearest_tile():
    net = nn.Sequential(conv(3, 3, 3, 2), nn.Upsample(scale_factor=2), conv(3, 3, 3))
    w = oc.analyze(net, (1, 3, 32, 32))["W"]
    assert (tuple(w.tile), w.step) == ((4, 2), 2)


def kim(layers: list[tuple[str, int, int]]) -> tuple[int, int]:
    """Kim et al., CVPR 2026: overlap by their recurrences. Convolutions from the output back; transposed
    convolutions forward, with the smallest start that leaves the output non-negative."""
    if layers[0][0] == "conv":
        left = right = 0
        for _, k, s in reversed(layers):
            c = (k - 1) // 2
            left, right = s * left + c, s * right + max(0, k - 1 - c - (s - 1))
        return left, right
    found = []
    for side in (0, 1):
        for start in range(64):
            here = start
            for _, k, s in layers:
                kr = (k - 1) // 2
                here = s * here - (k - 1 - kr) if side == 0 else s * here - kr - (s - 1)
            if here >= 0:
                found.append(start)
                break
    return found[0], found[1]


def test_convolutions_agree_with_the_published_recurrence():
    assert kim([("conv", 5, 2)] * 4) == (30, 15)
    assert kim([("conv", 3, 1), ("conv", 5, 2), ("conv", 5, 2)]) == (7, 4)


def test_transposed_convolutions_beat_the_published_recurrence():
    """Law 13: the recurrence takes inserted zeros beyond a block's edge for data and asks for (2, 3) of (1, 2)."""
    assert kim([("tconv", 5, 2)] * 4) == (2, 3)
    net = healthy(g_s(2), 0)
    w = oc.analyze(net, (1, 2, 16, 9))["H"]
    assert tuple(w.context) == (1, 2)
    x = torch.rand(1, 2, 16, 9, dtype=torch.float64)
    whole = net(x)
    tile = w.tile_span(5 * 16, 7 * 16)
    assert (tile.start, tile.stop) == (4, 9)
    part = net(x[:, :, tile.start : tile.stop])[:, :, 16 : 3 * 16]
    assert (part - whole[:, :, 80:112]).abs().max() <= 1e-12 * whole.abs().max()
    for a, b in ((5, 9), (4, 8)):  # one latent less on either side is wrong
        first = 80 - 16 * a
        part = net(x[:, :, a:b])[:, :, first : first + 32]
        assert part.shape[2] < 32 or (part - whole[:, :, 80:112]).abs().max() > 1e-6 * whole.abs().max()


@pytest.mark.parametrize(
    ("build", "channels", "size"), [(lambda: g_a(2), 3, 150), (lambda: g_s(2), 2, 12), (lambda: UNet(2), 3, 72)]
)
def test_context_against_brute_force(build, channels, size):
    """The same nets, from nothing but running them."""
    net = healthy(build(), 1)
    x = torch.rand(1, channels, size, 16, dtype=torch.float64)
    truth, w = Dependency(net, x, 2), oc.analyze(net, x)["H"]
    u = truth.out_size // w.out_step // 2
    assert truth.hull(u * w.out_step, (u + 1) * w.out_step) == (
        u * w.step - w.context.before,
        (u + 1) * w.step + w.context.after,
    )
