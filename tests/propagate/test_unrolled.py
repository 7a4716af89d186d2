"""Nets that take the samples of an axis one after another: one obstacle there says so, and other axes are answered."""

from __future__ import annotations

import pytest
import torch
from shared.blockwise import never_wrong
from torch import Tensor, nn

import overlapcalc as oc


class Frames(nn.Module):
    """A convolution in time, frame by frame, with the two frames before it in a cache."""

    def __init__(self) -> None:
        super().__init__()
        self.space = nn.Conv3d(1, 2, (1, 3, 3), padding=(0, 1, 1))
        self.time = nn.Conv3d(2, 1, (3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        cache = x.new_zeros(x.shape[0], 2, 2, *x.shape[3:])
        made = []
        for i in range(x.shape[2]):
            both = torch.cat([cache, self.space(x[:, :, i : i + 1])], 2)
            made.append(self.time(both))
            cache = both[:, :, 1:]
        return torch.cat(made, 2)


class Rows(nn.Module):
    """One row after another, and columns as well."""

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.stack([x[:, :, i] * 2 for i in range(x.shape[2])], 2)
        return torch.stack([rows[..., i] + 1 for i in range(x.shape[3])], 3)


class PaddedToFour(nn.Module):
    """Some sizes have one more operator, but not more and more."""

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[2]
        for _ in range(-n % 4):
            x = nn.functional.pad(x, (0, 1))
        return nn.functional.avg_pool1d(x, 3, 1, 1)[:, :, :n]


class Summed(Frames):
    """Each frame is added to all before it, too."""

    def forward(self, x: Tensor) -> Tensor:
        total = x.new_zeros(x.shape[0], 2, 1, *x.shape[3:])
        made = []
        for i in range(x.shape[2]):
            total = total + self.space(x[:, :, i : i + 1])
            made.append(total)
        return torch.cat(made, 2)


def test_one_obstacle_on_the_axis_of_the_loop():
    a = oc.analyze(Summed(), (1, 1, 4, 16, 16))
    (loop,) = a.obstacles
    assert (loop.axis, loop.cause, loop.op) == ("D", "loop", "loop")
    assert "one after another" in loop.message
    assert tuple(a["H"].context) == (1, 1)
    assert tuple(a["W"].context) == (1, 1)
    assert a.size_verified


def test_one_obstacle_on_each_of_two_axes():
    a = oc.analyze(Rows(), (1, 1, 4, 5))
    assert [(o.axis, o.cause) for o in a.obstacles] == [("H", "loop"), ("W", "loop")]


def test_operators_that_only_some_sizes_have_are_no_loop():
    a = oc.analyze(PaddedToFour(), (1, 1, 16))
    assert a.blocking_free
    assert a["L"].step == 4


class ByRemainder(nn.Module):
    """As many operators as its size leaves when divided: a bounded number, which grows at the start of a period."""

    def __init__(self, period: int, crops: bool) -> None:
        super().__init__()
        self.period, self.crops, self.conv = period, crops, nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(x.shape[3] % self.period):
            x = x[..., 1:] if self.crops else self.conv(x)
        return self.conv(x)


@pytest.mark.parametrize(("period", "crops", "size"), [(5, True, 40), (7, False, 42), (3, False, 42), (3, True, 43)])
def test_operators_by_a_remainder_are_no_loop(period, crops, size):
    a = oc.analyze(ByRemainder(period, crops), (1, 1, 24, size))
    assert a.blocking_free
    assert a["W"].step == period


def test_what_runs_is_right():
    assert never_wrong(Frames(), (1, 1, 3, 7, 6)) == "DHW"
    assert never_wrong(Summed(), (1, 1, 3, 7, 6)) == "HW"
