"""A plan of passes says when what runs whole takes the most memory."""

from __future__ import annotations

import io

import torch
from rich.console import Console
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.report.plan import render_plan


class Sorted(nn.Module):
    """Sorts two channels down the columns, between convolutions of so many."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.wide = nn.Sequential(nn.Conv2d(2, channels, 3, padding=1), nn.Conv2d(channels, 2, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.wide(x.sort(2)[0])


def fullest(net: nn.Module, rows: int, size: tuple[int, int] = (64, 32)) -> tuple[oc.Plan, str]:
    x = torch.empty(1, 2, *size, dtype=next((p.dtype for p in net.parameters()), torch.float32))
    plan = oc.plan(net.eval(), x, schedule="passes", stream_axis="H", block=rows, stored=True)
    text = io.StringIO()
    render_plan(plan, Console(file=text, width=200))
    return plan, text.getvalue()


def test_an_operator_that_runs_whole_is_named_where_it_takes_the_most():
    plan, text = fullest(Sorted(2), rows=2)
    assert plan.passes.whole is plan.passes.each[-1]
    assert plan.passes.whole.memory_whole >= 2 * 2 * 64 * 32 * 4  # what is sorted, and the result
    assert "takes the most memory, while sort runs whole" in text


def test_nothing_is_said_where_bands_take_more():
    plan, text = fullest(Sorted(128), rows=32)
    assert plan.passes.each[-1].memory > plan.passes.each[-1].memory_whole > 0
    assert plan.passes.whole is None
    assert "takes the most memory" not in text
    convolutions, _ = fullest(nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.GroupNorm(1, 4)), rows=8)
    assert convolutions.passes.whole is None


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Conv2d(2, 48, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).flatten(2).transpose(1, 2).chunk(3, -1)
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        return y.transpose(1, 2).reshape(len(x), 16, *x.shape[2:])


def test_keys_and_values_are_named():
    plan, text = fullest(Attention().double(), rows=1, size=(256, 4))  # few queries at a time, so few scores
    one = plan.passes.whole
    held = sum(t.nbytes for t in plan.passes.stored if t.whole)
    assert held == 2 * 16 * 256 * 4 * 8
    assert one is max(plan.passes.each, key=lambda each: each.memory)
    assert "most of it for what is needed whole: " in text
