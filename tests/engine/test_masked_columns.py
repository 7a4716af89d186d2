"""Samples that a constant zeroes for good, column by column, are not read; trim and stream run such a product."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.testing import assert_reads, assert_same_by_blocks

pytestmark = pytest.mark.usefixtures("traced_once")

Steps = Callable[[nn.Module, Tensor], Tensor]


class Net(nn.Module):
    def __init__(self, steps: Steps) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.steps = nn.Conv2d(1, 1, 3, padding=1), steps

    def forward(self, x: Tensor) -> Tensor:
        return self.steps(self.conv, x)


def _columns(x: Tensor, *kept: bool) -> Tensor:
    return torch.tensor(kept)[torch.arange(x.shape[3]) % len(kept)]


def every_other(conv: nn.Module, x: Tensor) -> Tensor:
    found: Tensor = conv(x * _columns(x, False, True))
    return found


def one_of_four(conv: nn.Module, x: Tensor) -> Tensor:
    found: Tensor = conv(x * x * _columns(x, False, False, True, False))
    return found


def behind(conv: nn.Module, x: Tensor) -> Tensor:
    found: Tensor = conv(x) * _columns(x, True, False, False)
    return found


CONTEXT: list[tuple[Steps, tuple[int, int]]] = [(every_other, (1, 0)), (one_of_four, (-2, -1)), (behind, (1, -1))]
"""A block of whole periods, and what it reads of the columns that are kept."""


@pytest.mark.parametrize(("steps", "wanted"), CONTEXT)
def test_by_brute_force(steps: Steps, wanted: tuple[int, int]) -> None:
    assert assert_reads(Net(steps), torch.rand(1, 1, 8, 12))["W"].context == oc.Sides(*wanted)


@pytest.mark.parametrize("steps", [every_other, one_of_four, behind])
@pytest.mark.parametrize("schedule", ["trim", "stream", "passes"])
def test_by_blocks(steps: Steps, schedule: str) -> None:
    assert_same_by_blocks(Net(steps), torch.rand(1, 1, 8, 12), block=4, schedule=schedule)


def test_a_product_that_moves_samples_is_none() -> None:
    net = Net(lambda conv, x: conv(x.roll(1, 3) * _columns(x, False, True))).double()
    x = torch.rand(1, 1, 8, 12, dtype=torch.float64)
    torch.testing.assert_close(oc.run(net, x, schedule="trim", block=4), net(x), rtol=0, atol=1e-13)
