"""Windows that are shifted by a roll: the roll is in the way, and no operator that stands behind it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.analysis.analyze import analyze_here

WINDOW = 4


class Shifted(nn.Module):
    """A layer within windows that are shifted by half of one, in tokens, beside what comes in."""

    def __init__(self, shift: int, first: bool) -> None:
        super().__init__()
        self.shift, self.first = shift, first
        self.mix = nn.Linear(WINDOW * WINDOW, WINDOW * WINDOW)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        y = tokens.view(b, h, w, c)
        y = torch.roll(y, (-self.shift, -self.shift), (1, 2)) if self.shift else y
        y = y.view(b, h // WINDOW, WINDOW, w // WINDOW, WINDOW, c).permute(0, 1, 3, 2, 4, 5)
        y = self.mix(y.reshape(-1, WINDOW * WINDOW, c).transpose(1, 2)).transpose(1, 2)
        y = y.view(b, h // WINDOW, w // WINDOW, WINDOW, WINDOW, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
        y = torch.roll(y, (self.shift, self.shift), (1, 2)) if self.shift else y
        joined = y.view(b, h * w, c)
        joined = joined + tokens if self.first else tokens + joined
        return joined.transpose(1, 2).view(b, c, h, w)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("size", [(16, 16), (16, 24)])
def test_the_roll_alone_is_in_the_way(first: bool, size: tuple[int, int]) -> None:
    found = analyze_here(Shifted(2, first), (1, 3, *size))
    assert [(o.layer, o.op, o.axis) for o in found.obstacles] == [
        ("roll", "aten::roll", "H"), ("roll", "aten::roll", "W"),
    ]  # fmt: skip


def test_windows_that_are_not_shifted_are_no_obstacle() -> None:
    assert analyze_here(Shifted(0, False), (1, 3, 16, 16)).blocking_free


class Branching(nn.Module):
    """Another operator at other sizes, beside what comes in: it begins before the addition."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        if x.shape[-1] != 32:
            y = y.relu()
        return y.sigmoid() * 2 + x


def test_a_net_of_other_operators_at_other_sizes_names_the_one_at_which_it_differs() -> None:
    net = Branching()
    found = oc.analyze(net, (1, 1, 32))
    assert [(o.layer, o.op, o.cause) for o in found.obstacles] == [("sigmoid", "aten::sigmoid", "size-dependent")]
    assert found.explain("L").obstacles[0].way == ("x", "conv", "sigmoid")
    x = torch.randn(1, 1, 32)
    torch.testing.assert_close(oc.run(net, x, schedule="trim", block=8), net(x))
