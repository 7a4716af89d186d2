"""Passes over the images of a batch, one after another, where no image reads another."""

from __future__ import annotations

import numpy
import pytest
import torch
from shared.thorough import few
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

import overlapcalc as oc

pytestmark = pytest.mark.usefixtures("traced_once")

SHAPE = (3, 4, 21, 12)


class Chain(nn.Module):
    """Convolutions and a norm."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Conv2d(4, 8, 3, padding=1), nn.GroupNorm(2, 8)
        self.last = nn.Conv2d(8, 3, 3, padding=1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.first(x)).relu())


class Attention(Chain):
    """Attention over all pixels, with the batch and the heads in one dimension."""

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        q = self.first(x).reshape(b * 2, 4, h * w)
        weights = (q.transpose(1, 2) @ q).softmax(-1)
        return (q @ weights.transpose(1, 2)).reshape(b, 8, h, w)


class Recurrent(nn.Module):
    """A recurrent layer down the columns, with the batch and the columns in one dimension."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rows = nn.GRU(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        y: Tensor = self.rows(x.permute(2, 0, 3, 1).reshape(h, b * w, c))[0]
        return y.reshape(h, b, w, 3).permute(1, 3, 0, 2)


class Conditioned(Chain):
    """A second input, with a batch of its own or one for all."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.norm(self.first(x) + t[:, :, None, None])


@pytest.mark.parametrize("net", few([Attention(), Recurrent(), Chain()], 1), ids=lambda net: type(net).__name__)
def test_images_run_one_after_another(net):
    net, x = net.double().eval(), torch.randn(SHAPE, dtype=torch.float64)
    plan = oc.plan(net, x, schedule="passes", block=5)
    assert plan.passes.images == len(x) == len(plan.strips["N"].slots)
    assert torch.allclose(oc.run(net, x, schedule="passes", block=5), net(x), rtol=0, atol=1e-12)
    assert oc.verify(net, x, schedule="passes", block=5).proved


@pytest.mark.parametrize("batch", few([3, 1], 1))
def test_an_input_for_all_images_is_given_to_each(batch):
    net = Conditioned().double().eval()
    x, t = torch.randn(SHAPE, dtype=torch.float64), torch.randn(batch, 8, dtype=torch.float64)
    found = list(oc.blocks(net, x, t, schedule="passes", block=5))
    assert [str(block.regions["output"]["N"]) for block in found[:: len(found) // 3]] == ["[0, 1)", "[1, 2)", "[2, 3)"]
    for block in found:
        region = block.regions["output"]
        part = net(x, t)[slice(*region["N"]), :, slice(*region["H"])]
        assert torch.allclose(block.results["output"], part, rtol=0, atol=1e-12)


def test_an_image_takes_the_memory_of_one_beside_the_outputs_of_all():
    net = Chain().double().eval()
    single, every = (oc.plan(net, torch.empty(n, 4, 63, 64).double(), schedule="passes", block=5) for n in (1, 3))
    output = 3 * 32 * 32 * 8
    more = every.memory.activations - single.memory.activations
    assert 0 < more <= 3 * output
    assert every.passes.disk == single.passes.disk
    assert every.passes.written == 3 * single.passes.written
    assert every.work.macs == 3 * single.work.macs == every.full.macs


def test_images_of_a_file_are_read_one_by_one(tmp_path):
    net = Chain().eval()
    x = numpy.random.default_rng(0).standard_normal(SHAPE).astype("float32")
    numpy.save(tmp_path / "x.npy", x)
    out = torch.empty(3, 3, 11, 6)
    oc.run(net, numpy.load(tmp_path / "x.npy", mmap_mode="r"), out=out, schedule="passes", block=5)
    assert torch.allclose(out, net(torch.from_numpy(x)), atol=1e-6)


class Mixed(nn.Module):
    def __init__(self, how) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        return self.how(x) + x.mean((2, 3), keepdim=True)


MIXING = {
    "a mean over the batch": lambda x: x - x.mean(0, keepdim=True),
    "the image before": lambda x: x.roll(1, 0),
    "the other way round": lambda x: x.flip(0),
    "another net for one image": lambda x: x * x if len(x) == 1 else x + x,
    "the number of images": lambda x: x * len(x),
    "a place in the batch": lambda x: x + torch.arange(len(x))[:, None, None, None],
    "other shapes for one image": lambda x: x.reshape(-1, 4, 12, 21).reshape(x.shape) if len(x) > 1
    else x.reshape(-1, 21, 12, 4).reshape(x.shape),
    "a size by the number of images": lambda x: interpolate(interpolate(x, (8 * len(x), 12)), (21, 12)),
    "moved by the number of images": lambda x: x.roll(len(x), 2),
    "padded by the number of images": lambda x: pad(x, (0, 0, len(x), 4))[:, :, :-4 - len(x)].contiguous()[:, :, :21 - 8]
    .repeat(1, 1, 2, 1)[:, :, :21],
    "a window by the number of images": lambda x: pad(x, (0, 0, 3, 0))[:, :, len(x):len(x) + 21],
    "repeated by the number of images": lambda x: x.repeat(1, 1, len(x), 1)[:, :, len(x):len(x) + 21],
    "a power by the number of images": lambda x: x.abs() ** len(x),
    "the first image alone": lambda x: x[:1],
    "images and rows mixed": lambda x: x.transpose(0, 2).reshape(x.shape),
}  # fmt: skip


@pytest.mark.parametrize("how", few(MIXING.values(), 8), ids=MIXING.keys())
def test_images_that_mix_run_at_once(how):
    net, x = Mixed(how).double().eval(), torch.randn(SHAPE, dtype=torch.float64)
    plan = oc.plan(net, x, schedule="passes", block=5)
    assert (plan.passes.images, "N" in plan.strips) == (1, False)
    assert torch.allclose(oc.run(net, x, schedule="passes", block=5), net(x), rtol=0, atol=1e-12)


def test_a_plan_that_leaves_an_image_out_is_refuted():
    """The twin and the values compare with all images at once."""
    from dataclasses import replace

    net, x = Chain().double().eval(), torch.randn(SHAPE, dtype=torch.float64)
    plan = oc.plan(net, x, schedule="passes", block=5)
    first = plan.strips["N"].slots[0]
    twice = replace(plan.strips["N"], slots=(first, replace(plan.strips["N"].slots[1], tiles=first.tiles),
                                             plan.strips["N"].slots[2]))  # fmt: skip
    proofs = {
        p.name: p.status for p in oc.verify(net, x, plan=replace(plan, strips={**plan.strips, "N": twice})).proofs
    }
    assert proofs["exact twin"] == proofs["values"] == "refuted"


class Along(nn.Module):
    """An operator that goes along the batch as others go along an axis."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        return self.part(x.permute(1, 0, 2, 3)[None])[0].permute(1, 0, 2, 3) * x.mean((2, 3), keepdim=True)


ALONG = [
    nn.Conv3d(4, 4, 3, padding=1),
    nn.MaxPool3d((3, 1, 1), 1, (1, 0, 0)),
    nn.ReplicationPad3d((0, 0, 0, 0, 1, -1)),
]


@pytest.mark.parametrize("part", ALONG, ids=lambda part: type(part).__name__)
def test_images_that_read_their_neighbours_run_at_once(part):
    """What calls read at one size is not composed, so that only each call can tell."""
    net, x = Along(part).double().eval(), torch.randn(SHAPE, dtype=torch.float64)
    assert oc.plan(net, x, schedule="passes", block=5).passes.images == 1
    assert torch.allclose(oc.run(net, x, schedule="passes", block=5), net(x), rtol=0, atol=1e-12)


SEVERAL = {
    "twice each": lambda x: x.repeat_interleave(2, 0),
    "with the channels": lambda x: x.flatten(0, 1),
}


@pytest.mark.parametrize("how", SEVERAL.values(), ids=SEVERAL.keys())
def test_outputs_with_several_indices_for_an_image_run_at_once(how):
    net, x = Outer(how).double().eval(), torch.randn(SHAPE, dtype=torch.float64)
    assert oc.plan(net, x, schedule="passes", block=5).passes.images == 1
    assert torch.allclose(oc.run(net, x, schedule="passes", block=5), net(x), rtol=0, atol=1e-12)


class Outer(Mixed):
    def forward(self, x: Tensor) -> Tensor:
        return self.how(x * x.mean((2, 3), keepdim=True))


def test_heads_of_images_are_told_apart():
    """One dimension for images and heads: index i belongs to image i // heads."""
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(4, 2, batch_first=True)

    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = attention

        def forward(self, x: Tensor) -> Tensor:
            y = x.mean((2, 3))[:, None]
            return x * self.attention(y, y, y)[0][:, 0, :, None, None]

    net, x = Heads().double().eval(), torch.randn(SHAPE, dtype=torch.float64)
    assert oc.plan(net, x, schedule="passes", block=5).passes.images == 3
    assert torch.allclose(oc.run(net, x, schedule="passes", block=5), net(x), rtol=0, atol=1e-12)


class Rows(nn.Module):
    """Images and their rows in one dimension, beside a constant that is as long."""

    def __init__(self, how) -> None:
        super().__init__()
        self.how = how
        self.rows = nn.GRU(4, 3, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        y = (x * x.mean((2, 3), keepdim=True)).permute(0, 2, 3, 1).reshape(b * h, w, c)
        y = self.how(self, y, torch.arange(b * h, dtype=y.dtype)[:, None, None])
        return y.reshape(b, h, w, -1).permute(0, 3, 1, 2)


BESIDE = {
    "added": lambda net, y, c: y + c,
    "multiplied": lambda net, y, c: torch.bmm(y, c * torch.eye(4, dtype=y.dtype)),
    "joined": lambda net, y, c: torch.cat([y, c.expand(-1, 12, 1)], 2),
    "a mask": lambda net, y, c: torch.nn.functional.scaled_dot_product_attention(y, y, y, c.expand(-1, 12, 12)),
    "first states": lambda net, y, c: net.rows(
        y.transpose(0, 1), c.reshape(1, -1, 1).expand(2, -1, 3).contiguous()
    )[0].transpose(0, 1),
}  # fmt: skip


@pytest.mark.parametrize("how", BESIDE.values(), ids=BESIDE.keys())
def test_a_constant_with_values_of_its_own_for_an_image_runs_at_once(how):
    torch.manual_seed(0)
    net, x = Rows(how).double().eval(), torch.randn(3, 4, 9, 12, dtype=torch.float64)
    assert oc.plan(net, x, schedule="passes", stream_axis="W", block=5).passes.images == 1
    assert torch.allclose(oc.run(net, x, schedule="passes", stream_axis="W", block=5), net(x), rtol=0, atol=1e-12)


class Choosing(nn.Module):
    """Weights that are chosen, or made, by the number of images."""

    def __init__(self, how) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how = how
        self.gains, self.kernels = nn.Parameter(torch.randn(5, 1, 1)), nn.Parameter(torch.randn(5, 4, 4, 1, 1))
        self.layers = nn.ModuleList(nn.Conv2d(4, 4, 1) for _ in range(5))

    def forward(self, x: Tensor) -> Tensor:
        return self.how(self, x, len(x)) + x.mean((2, 3), keepdim=True)


CHOOSING = {
    "a gain": lambda net, x, n: x * net.gains[n],
    "a layer": lambda net, x, n: net.layers[n](x),
    "a kernel": lambda net, x, n: nn.functional.conv2d(x, net.kernels[n]),
    "a power": lambda net, x, n: x * (net.gains**n).sum(0),
    "some of them": lambda net, x, n: x * net.gains[n:].sum(0),
    "a tensor of it": lambda net, x, n: x * torch.tensor(float(n)),
}


@pytest.mark.parametrize("how", few(CHOOSING.values(), 3), ids=CHOOSING.keys())
def test_weights_by_the_number_of_images_run_at_once(how):
    net, x = Choosing(how).double().eval(), torch.randn(SHAPE, dtype=torch.float64)
    assert oc.plan(net, x, schedule="passes", block=5).passes.images == 1
    assert torch.allclose(oc.run(net, x, schedule="passes", block=5), net(x), rtol=0, atol=1e-12)
