"""Random nets that are not local give by passes what they give as a whole. More by `make fuzz FAMILY=passes`."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from shared import barred
from shared.thorough import few
from torch.utils._pytree import tree_leaves

import overlapcalc.testing as kit
from overlapcalc.ops import registry
from overlapcalc.ops.parts import reduction_of
from overlapcalc.testing.barriers.barrier import RECIPES
from overlapcalc.testing.barriers.shrunk import smallest
from overlapcalc.testing.nets import Call

NETS = [seed for seed in range(12) if seed not in (0, 3, 7)]
"""Seeds; three of the first take long, and are left to the fuzz."""
ONE_OF_EACH_KIND = (
    *("group_norm", "a norm by mean squares", "squeeze by mean", "range", "softmax over pixels", "a Gram matrix"),
    *("fused attention", "fft along the first axis", "sort", "cumsum", "flip", "roll", "a GRU", "to a size", "places"),
)
"""What `make test` runs by itself."""


@pytest.mark.parametrize("seed", few(NETS, 1))
def test_a_net_by_passes(seed):
    net = kit.barrier_net(seed)
    verdict = barred.judge(net, seed, twin=seed % 3 == 0, single_too=seed % 6 == 0)
    assert not verdict.wrong, f"{net!r}\n{verdict.wrong}"


@pytest.mark.parametrize("name", few(RECIPES, ONE_OF_EACH_KIND))
def test_every_barrier_is_drawn_right_on_its_own(name):
    n = 2 if 2 in RECIPES[name].numbers else 1
    net = kit.BarrierNet(Call.of(kit.Barrier, 4, name), ((2, 4, *(9, 6)[:n]),), 1)
    verdict = barred.judge(net, 1, axes=2, twin=False, single_too=False)
    assert not verdict.wrong, verdict.wrong


def test_a_wrong_combine_is_seen():
    """The control: without the last band of every mean, the first nets with one are wrong."""
    net = kit.BarrierNet(Call.of(kit.Barrier, 2, "squeeze by mean"), ((1, 2, 19, 6),))
    with registry.kept():
        parts = replace(reduction_of("aten::mean"), combine=lambda a, b: a)
        registry._OPERATORS["aten::mean"] = replace(registry.known_of("aten::mean"), parts=parts)
        assert len(barred.judge(net, 2).wrong) == 4  # spilled, kept, computed anew and in float32
    assert not barred.judge(net, 2).wrong


def test_a_net_is_the_same_every_time_and_prints_as_it_is():
    net = kit.barrier_net(0)
    again = eval(repr(net), {**vars(kit), "nn": torch.nn, "Call": Call})
    assert again == net == kit.barrier_net(0) != kit.barrier_net(1)
    a, b = (tree_leaves(one.build()(*one.inputs())) for one in (net, again))
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_net_shrinks_to_what_matters():
    found = next(n for n in map(kit.barrier_net, range(200)) if "sort" in n.barriers and len(n.barriers) > 1)
    small = smallest(found, lambda net: "sort" in net.barriers)
    assert [call.name for call in small.call.calls() if call.name != "nn.Identity"][-1] == "Barrier"
    assert small.barriers == ("sort",)
    assert small.shapes[0][0] == 1
