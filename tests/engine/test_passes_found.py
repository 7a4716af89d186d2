"""Nets on which passes once failed, each as small as random nets showed it (`make fuzz FAMILY=passes`)."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import overlapcalc as oc
from overlapcalc.testing import Barrier, BarrierNet, Cat
from overlapcalc.testing.nets import Call

WIDER = Call.of(Cat, Call.of(nn.Sequential, Call.of(Barrier, 2, "std"), Call.of(nn.Upsample, scale_factor=2)),
                Call.of(nn.Identity))  # fmt: skip


def same(net: BarrierNet, **options) -> bool:
    model, x = net.build(), net.inputs()
    with torch.no_grad():
        whole, parts = model(*x), oc.run(model, *x, schedule="passes", **options)
    return whole.shape == parts.shape and torch.allclose(whole, parts, rtol=0, atol=1e-10)


def test_bands_shorter_than_the_plan_says():
    """One band of 9 rows by the plan, two by the pass, which has 14 rows inside: `Tiled` takes the first for all."""
    assert same(BarrierNet(WIDER, ((1, 2, 7, 6),)), stream_axis="H", block=9)


def test_a_last_row_is_lost_without_a_word():
    assert same(BarrierNet(WIDER, ((1, 2, 3, 6),)), stream_axis="H", block=5)


def test_a_norm_over_the_axis_that_is_not_cut():
    assert same(
        BarrierNet(Call.of(Barrier, 2, "layer_norm over the last axis"), ((1, 2, 9, 6),)), stream_axis="H", block=4
    )


@pytest.mark.parametrize(("name", "axis"), [("rfft along the last axis", "H"), ("fft along the first axis", "W")])
def test_an_fft_along_the_axis_that_is_not_cut(name, axis):
    assert same(BarrierNet(Call.of(Barrier, 2, name), ((1, 2, 9, 6),)), stream_axis=axis, block=4)
