"""Passes over nets that read far along an axis: mirrored, moved round the end, from both ends at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import overlapcalc as oc

pytestmark = pytest.mark.usefixtures("traced_once")


class Between(nn.Module):
    """Something between two convolutions, the second of which has a norm before it, or not."""

    def __init__(self, how, padding: str = "zeros", norm: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how = how
        self.before = nn.Conv2d(3, 8, 3, padding=1, padding_mode=padding)
        self.norm = nn.GroupNorm(2, 8) if norm else nn.Identity()
        self.after = nn.Conv2d(8, 3, 3, padding=1, padding_mode=padding)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.norm(self.how(self.before(x))))


def windows(x: Tensor, shift: int) -> Tensor:
    """Attention in windows of four rows and columns that are moved, and moved back."""
    n, c, h, w = x.shape
    y = x.roll((-shift, -shift), (2, 3)).view(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, c)
    y = (y @ y.transpose(1, 2)).softmax(-1) @ y
    y = y.view(n, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4).reshape(x.shape)
    return x + y.roll((shift, shift), (2, 3))


NETS = {
    "circular": Between(nn.Identity(), "circular"),
    "a mirror image": Between(lambda x: x.flip(2)),
    "beside its mirror image": Between(lambda x: x + x.flip(2)),
    "half a turn": Between(lambda x: x + x.roll(x.shape[2] // 2, 2)),
    "moved windows": Between(lambda x: windows(x, 2)),
    "sums from the end": Between(lambda x: x.flip(2).cumsum(2).flip(2) / 50),
    "sums moved round the end": Between(lambda x: x.cumsum(2).roll(3, 2) / 50),
    "the ends side by side": Between(lambda x: torch.cat([x[:, :, 1::2], x[:, :, ::2]], 2)),
    "mirrored twice": Between(lambda x: (x.flip(2) * 2).relu().flip(2), norm=False),
    "the image itself mirrored": nn.Sequential(Between(lambda x: x), Between(nn.Identity())),
}


@pytest.mark.parametrize("net", NETS.values(), ids=NETS.keys())
def test_it_is_what_the_whole_gives(net):
    net = net.double().eval()
    for height, rows in ((12, 5), (160, 23)):
        x = torch.randn(1, 3, height, 8, dtype=torch.float64)
        run = oc.run(net, x, schedule="passes", stream_axis="H", block=rows)
        assert torch.allclose(run, net(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in NETS if name != "sums moved round the end"])
def test_its_memory_does_not_grow_with_the_axis(name):
    """But for sums that are moved round the end, of which one band reads both ends."""
    plans = [
        oc.plan(NETS[name].double(), torch.empty(1, 3, height, 8).double(), schedule="passes", stream_axis="H", block=4,
                stored=True)
        for height in (256, 512)
    ]  # fmt: skip
    small, large = (plan.memory.activations for plan in plans)
    assert large <= 1.1 * small
    assert large < 0.2 * plans[1].full_memory.activations


def test_two_mirrors_need_no_store():
    plan = oc.plan(NETS["mirrored twice"].double(), torch.empty(1, 3, 256, 8).double(), schedule="passes", block=4)
    assert (len(plan.passes.each), plan.passes.stored) == (1, ())


def test_a_tensor_beside_its_mirror_image_is_stored_once():
    net = Between(lambda x: x + x.flip(2), norm=False).double().eval()
    plan = oc.plan(net, torch.empty(1, 3, 256, 8).double(), schedule="passes", stream_axis="H", block=4)
    assert [(one.stores, one.reads) for one in plan.passes.each] == [(("before",), ()), ((), ("before", "before"))]
    assert plan.passes.written == 8 * 256 * 8 * 8


@pytest.mark.parametrize("name", ["circular", "beside its mirror image", "moved windows", "sums from the end"])
def test_it_is_proved(name):
    assert oc.verify(NETS[name].eval(), (1, 3, 132, 8), schedule="passes", stream_axis="H").proved


@pytest.mark.parametrize("padding", ["zeros", "circular"])
def test_a_block_belongs_to_who_gets_it(padding):
    """Its samples may be overwritten before the next block is computed."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.one, self.two = (nn.Conv2d(3, 3, 5, padding=2, padding_mode=padding) for _ in range(2))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            y = self.one(x)
            return y, self.two(y) * y.mean()

    net, x = Twice().double().eval(), torch.randn(1, 3, 21, 6, dtype=torch.float64)
    found = [torch.empty_like(y) for y in net(x)]
    for block in oc.blocks(net, x, schedule="passes", stream_axis="H", block=2):
        for name, y in block.results.items():
            found[int(name[-1])][:, :, slice(*block.regions[name]["H"])] = y
            y.zero_()
    for run, y in zip(found, net(x), strict=True):
        assert torch.allclose(run, y, rtol=0, atol=1e-12)


def test_passes_are_counted_as_they_run():
    analysis = oc.analyze(NETS["sums from the end"], (1, 3, 160, 8))
    plan = oc.plan(analysis, schedule="passes", stream_axis="H", block=4)
    assert analysis.runs["H"].passes == len(plan.passes.each) == 4  # to the mirror, the sums, the norm, the rest
