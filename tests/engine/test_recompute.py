"""What later passes compute anew, and what runs whole because it has no way to run on a band."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

import overlapcalc as oc

pytestmark = pytest.mark.usefixtures("traced_once")

CHANNELS = 8
SHAPE = (1, 3, 96, 64)
TENSOR = CHANNELS * 96 * 64 * 8
"""Bytes of a tensor that a norm reads, in float64."""


def chain(norms: int = 3) -> nn.Module:
    """A convolution of 3 channels, so many of all channels with a norm behind each, and one to 3 channels."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, CHANNELS, 3, padding=1)]
    for _ in range(norms):
        layers += [nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.GroupNorm(2, CHANNELS), nn.SiLU()]
    return nn.Sequential(*layers, nn.Conv2d(CHANNELS, 3, 3, padding=1)).double().eval()


def macs(head: int, middle: int) -> int:
    """Of so many runs of the first and of the layers between, and of one of the last."""
    return 96 * 64 * 9 * (head * 3 * CHANNELS + middle * CHANNELS**2 + CHANNELS * 3)


def test_without_a_disk_and_with_little_memory_every_pass_begins_at_the_image():
    net, x = chain(), torch.randn(SHAPE, dtype=torch.float64)
    tiled = oc.tiled(net, SHAPE, schedule="passes", memory=700_000, disk=0)
    plan = tiled.plan(SHAPE)
    assert plan.passes.disk == plan.passes.written == 0
    assert plan.memory.total <= 700_000
    assert plan.work.kernel_macs == macs(4, 4 + 3 + 2)  # the first norm ends pass 0, the last is read in pass 3
    assert plan.passes.each[1].again == ("0", "1")
    assert torch.allclose(tiled(x), net(x), rtol=0, atol=1e-12)
    assert oc.verify(net, SHAPE, plan=plan).proved


def test_a_disk_for_one_tensor_saves_the_most_work():
    plan = oc.tiled(chain(), SHAPE, schedule="passes", memory=700_000, disk=TENSOR).plan(SHAPE)
    assert plan.passes.disk == TENSOR
    assert plan.work.kernel_macs < macs(4, 4 + 3 + 2)


def test_with_enough_memory_nothing_is_computed_anew():
    plan = oc.tiled(chain(), SHAPE, schedule="passes", disk=0).plan(SHAPE)
    assert plan.work.kernel_macs == macs(1, 3)
    assert not plan.passes.again
    assert all(one.kept for one in plan.passes.stored)


def test_a_layer_on_few_channels_costs_less_than_the_disk():
    """What is read back is 8 channels of 8 bytes, written and read; what makes it anew is 27 taps a channel."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8)).double()
    scarce = {"schedule": "passes", "memory": TENSOR, "stored": True}
    plan = oc.plan(net, SHAPE, **scarce)
    assert plan.passes.each[1].again == ("0",)
    assert plan.passes.disk == 0
    assert oc.plan(net, SHAPE, schedule="passes").passes.again == frozenset()  # nothing says that memory is scarce
    dear = nn.Sequential(nn.Conv2d(64, 8, 3, padding=1), nn.GroupNorm(2, 8)).double()
    shape, tensor = (1, 64, 4 * 96, 64), 4 * TENSOR
    plan = oc.plan(dear, shape, **{**scarce, "memory": tensor})
    assert plan.passes.each[1].again == ()
    assert plan.passes.disk == tensor
    plan = oc.plan(dear, shape, schedule="passes", disk=tensor - 1)
    assert plan.passes.disk == 0
    assert all(one.kept for one in plan.passes.stored)  # without a budget it is memory that is taken


def test_too_little_for_what_is_needed_whole_is_said_with_its_layer():
    class Sorted(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Conv2d(1, 4, 3, padding=1)

        def forward(self, x):
            return self.head(x).sort(dim=2).values

    with pytest.raises(oc.InputError, match=r"needed whole \(head\) the largest tensor takes 96 KiB"):
        oc.plan(Sorted(), (1, 1, 96, 64), schedule="passes", memory=150_000)


class Adapted(nn.Module):
    """The weight of a convolution is made from the image."""

    def __init__(self):
        super().__init__()
        self.head, self.tail = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, x):
        y = self.head(x)
        weight = y.mean((2, 3)).reshape(1, 4, 1, 1) * torch.linspace(-1, 1, 144).reshape(4, 4, 3, 3).to(y.dtype)
        return self.tail(conv2d(y, weight, padding=1).relu())


class Complex(nn.Module):
    def forward(self, x):
        return x * torch.complex(x, 2 * x).sum((2, 3), keepdim=True).abs()


@pytest.mark.parametrize(("net", "op"), [(Adapted(), "aten::conv2d"), (Complex(), "aten::sum")])
def test_what_has_no_way_to_run_on_a_band_runs_whole(net, op):
    net, x = net.double(), torch.randn(1, 3, 24, 20, dtype=torch.float64)
    plan = oc.plan(net, x.shape, schedule="passes", block=5)
    assert op in [op for one in plan.passes.each for _, op in one.whole]
    assert torch.allclose(oc.run(net, x, schedule="passes", block=5), net(x), rtol=1e-12)
    statuses = {proof.name: proof.status for proof in oc.verify(net, x.shape, plan=plan).proofs}
    if op == "aten::sum":
        assert statuses.pop("exact twin") == "not applicable"  # complex numbers
    assert set(statuses.values()) == {"proved"}
