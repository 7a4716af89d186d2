"""Which layers a plan's costs are made of: they sum to the plan's, and a few by hand."""

from __future__ import annotations

import pytest
from shared.thorough import crossed
from torch import nn

import overlapcalc as oc
from examples.unet import UNet
from overlapcalc.planning.breakdown import Fullest, fullest, spent

NETS = {
    "U-Net": (UNet, (1, 3, 32, 48)),
    "decoder": (
        lambda: nn.Sequential(nn.ConvTranspose2d(2, 4, 5, 2, 2, 1), nn.ReLU(), nn.Conv2d(4, 3, 3)),
        (1, 2, 12, 20),
    ),
}


@pytest.mark.parametrize(("schedule", "name"), crossed(["crop", "trim", "stream"], NETS))
def test_layers_sum_to_the_plan(name, schedule):
    make, shape = NETS[name]
    found = oc.analyze(make(), shape)
    made = oc.plan(found, block=8, schedule=schedule)
    layers = spent(found.variants.net, made)
    assert sum(one.blocks for one in layers) == made.work.macs
    assert sum(one.whole for one in layers) == made.full.macs
    assert [one.beyond for one in layers] == sorted((one.beyond for one in layers), reverse=True)
    assert made.work.macs > made.full.macs or schedule == "stream"


def of(net: nn.Module, shape: tuple[int, ...], block: object, schedule: str) -> Fullest | None:
    found = oc.analyze(net, shape)
    return fullest(found.variants.net, oc.plan(found, block=block, schedule=schedule))


def test_a_chain_holds_what_it_reads_and_makes():
    """Four channels of 8 x 8, then two; of a tile the input, too, until it was read."""
    net = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 2, 1))
    assert of(net, (1, 1, 16, 16), 8, "crop") == Fullest("1", (("0", 256), ("1", 128)))
    wide = nn.Sequential(nn.Conv2d(9, 4, 1), nn.Conv2d(4, 2, 1))
    assert of(wide, (1, 9, 16, 16), 8, "crop") == Fullest("0", (("input", 9 * 64), ("0", 256)))
    assert of(wide, (1, 9, 16, 16), 8, "trim") == Fullest("1", (("0", 256), ("1", 128)))  # the image is the caller's


def test_a_block_inside_holds_the_most():
    """Of a trimmed block of 8 inside of 24, the first of two layers makes 10 x 10 samples of 4 channels."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1))
    assert of(net, (1, 1, 24, 24), 8, "trim") == Fullest("1", (("0", 400), ("1", 128)))
    assert of(net, (1, 1, 24, 24), 8, "crop") == Fullest("1", (("0", 4 * 144), ("1", 2 * 144)))


def test_a_stream_holds_the_rows_that_are_still_to_be_read():
    """Bands of 4 rows of 8 columns: of the first layer two rows of the band before are there beside four new ones."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1))
    assert of(net, (1, 1, 32, 8), 4, "stream") == Fullest("1", (("0", 4 * 6 * 8), ("1", 2 * 4 * 8)))


@pytest.mark.parametrize("schedule", ["trim", "stream"])
def test_a_net_that_makes_nothing_holds_nothing(schedule):
    assert of(nn.Identity(), (1, 1, 16, 16), 8, schedule) is None


class Skip(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(1, 6, 1), nn.Conv2d(6, 1, 1), nn.Conv2d(1, 1, 1)

    def forward(self, x):
        a = self.a(x)
        return self.c(self.b(a)) + a


def test_a_skip_is_held_until_it_is_joined():
    assert of(Skip(), (1, 1, 16, 16), 8, "trim") == Fullest("add", (("a", 384), ("add", 384), ("c", 64)))


class Gained(nn.Module):
    """An image whose channels are weighed by what a layer makes of three numbers: that has no axis."""

    def __init__(self):
        super().__init__()
        self.mix, self.gain = nn.Conv2d(2, 4, 1), nn.Linear(3, 4)

    def forward(self, x, v):
        return self.mix(x) * self.gain(v)[:, :, None, None]


@pytest.mark.parametrize(("block", "columns"), [(8, 1), ({"H": 8, "W": 12}, 2)])
def test_what_lacks_the_axis_of_a_stream_counts_once_in_each_column(block, columns):
    made = oc.plan(Gained(), [(1, 2, 40, 24), (1, 3)], schedule="stream", stream_axis="H", block=block)
    image, gain = 2 * 4 * 40 * 24, 3 * 4
    assert made.full.macs == image + gain
    assert made.work.macs == image + columns * gain
    assert made.largest.macs == image // 5 // columns + gain  # the first of five bands
    layers = {one.layer: one.blocks for one in spent(oc.analyze(Gained(), [(1, 2, 40, 24), (1, 3)]).variants.net, made)}
    assert layers == {"mix": image, "gain": columns * gain}
