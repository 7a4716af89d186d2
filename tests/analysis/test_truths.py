"""The figures of the literature and of design: measured by brute force or published, never read off our own output."""

from __future__ import annotations

import pytest
import torch
from shared.literature import TRUTHS, UNet, conv, cps, g_a, g_s
from shared.nets import healthy
from shared.oracle import Dependency
from torch import nn

import overlapcalc as oc


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
