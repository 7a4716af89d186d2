"""Tiles on which a net would be another one, or not run at all: they grow until it is the same."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from shared.agreement import same_on
from shared.blockwise import Fn, conv
from shared.nets import healthy

import overlapcalc as oc

LARGE_ONLY = [
    ("short images padded",
     Fn(lambda s, x: s.c(F.pad(x, (0, max(0, 32 - x.shape[3]), 0, 0), "replicate"))[..., : x.shape[3]], c=conv(3, 3)), 48, 44),
]  # fmt: skip


@pytest.mark.parametrize(("name", "net", "size", "start"), LARGE_ONLY, ids=[r[0] for r in LARGE_ONLY])
def test_a_tile_on_which_the_net_is_another_one_grows(name, net, size, start):
    """A short tile gives other values, the one that is given does not."""
    net = healthy(net, 1)
    x = torch.rand(1, 3, 24, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        y = net(x)
    w = oc.analyze(net, (1, 3, 24, size))["W"]
    tile = w.tile_span(start, start + 4)
    assert same_on(net, x, y, 3, tile, start, start + 4, w)
    needed = w.reads(start, start + 4, size=size)
    assert not same_on(net, x, y, 3, oc.Span(max(0, needed.start - 2), min(size, needed.stop + 2)), start, start + 4, w)


def test_a_tile_on_which_the_net_does_not_run_grows():
    def multiple(s, x):
        if x.shape[3] % 16 or x.shape[3] < 48:
            raise ValueError("no")
        return s.c(x)

    w = oc.analyze(Fn(multiple, c=conv(3, 3)), (1, 3, 32, 96))["W"]
    assert w.step == 16
    assert w.tile_span(0, 16).length >= 48
