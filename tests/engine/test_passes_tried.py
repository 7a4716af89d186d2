"""What a new user of passes found."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

import overlapcalc as oc
from overlapcalc.engine.slab import call


def test_a_norm_far_from_zero_is_as_good_as_torch():
    """A mean of 10,000 beside deviations of one: a product before the difference would cost three more digits."""
    torch.manual_seed(0)
    x, net = torch.rand(1, 4, 64, 64) + 1e4, nn.GroupNorm(1, 4)
    exact = nn.GroupNorm(1, 4).double()(x.double())
    ours = (oc.run(net, x, schedule="passes", block=8).double() - exact).abs().max()
    assert ours <= (net(x).double() - exact).abs().max()
    assert ours < 1e-6


class Attending(nn.Module):
    def forward(self, x):
        t = x.flatten(2).mT
        return scaled_dot_product_attention(t, t, t).mT.reshape(x.shape)


def test_a_few_pieces_of_attention_weigh_what_all_do(monkeypatch):
    """4,096 keys: queries go 256 at a time, 1,024 in a band."""
    shape = (1, 4, 64, 64)
    few = oc.plan(Attending(), shape, schedule="passes", block=16).memory
    monkeypatch.setattr(call, "FEW_PIECES", 1000)
    assert oc.plan(Attending(), shape, schedule="passes", block=16).memory == few
    x = torch.randn(shape, dtype=torch.float64)
    assert torch.allclose(oc.run(Attending(), x, schedule="passes", block=16), Attending()(x), rtol=1e-12)


def test_without_a_disk_shorter_bands_come_before_work_done_twice():
    net = nn.Sequential(nn.Conv2d(4, 16, 3, padding=1), nn.GroupNorm(2, 16), nn.Conv2d(16, 4, 3, padding=1))
    shape = (1, 4, 160, 120)
    one = oc.plan(net, shape, schedule="passes", disk=0, block=16).memory.total
    found = oc.plan(net, shape, schedule="passes", disk=0, memory=one)
    assert found.work.kernel_macs == found.full.kernel_macs
    assert found.passes.disk == 0
    least = oc.plan(net, shape, schedule="passes", disk=0, memory=one // 2)
    assert least.work.kernel_macs > least.full.kernel_macs


def test_a_refusal_says_what_disk_it_was_for():
    net = nn.Sequential(nn.Conv2d(4, 16, 3, padding=1), nn.GroupNorm(2, 16))
    with pytest.raises(oc.InputError, match="fit into 10 KiB and 0 B of disk: in bands of 1 they take"):
        oc.plan(net, (1, 4, 160, 120), schedule="passes", disk=0, memory="10KiB")


def test_the_whole_of_multihead_attention_holds_its_scores():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.MultiheadAttention(16, 4, batch_first=True)

        def forward(self, x):
            t = x.flatten(2).mT
            return self.mix(t, t, t, need_weights=False)[0].mT.reshape(x.shape)

    plan = oc.plan(Net().eval(), (1, 16, 32, 32), schedule="passes", block=8)
    assert plan.full_memory.activations >= 4 * (32 * 32) ** 2 * 4  # 4 heads, float32


def test_keys_and_values_are_counted_once():
    """They are kept whole, 1 MiB each; bands of 32 of 4,096 positions take next to nothing beside them."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k, self.v = (nn.Conv1d(2, 64, 1) for _ in range(3))

        def forward(self, x):
            q, k, v = (part(x).mT for part in (self.q, self.k, self.v))
            return scaled_dot_product_attention(q, k, v).mT.mean(1, keepdim=True)

    plan = oc.plan(Net(), (1, 2, 4096), schedule="passes", block=32, stored=True)
    kept = sum(one.nbytes for one in plan.passes.stored if one.whole)
    assert kept == 2 * 64 * 4096 * 4
    first = plan.passes.each[0]  # which makes them: it reads nothing of them
    assert kept <= first.memory < 1.5 * kept
