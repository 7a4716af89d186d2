"""Nets that rotate the image, and back again, are local: self-ensembles, layers that look along another way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn, rot90
from torch.nn import functional as F

import overlapcalc as oc
from overlapcalc.testing import assert_reads, assert_same_by_blocks

pytestmark = pytest.mark.usefixtures("traced_once")

Steps = Callable[["Net", Tensor], Tensor]
HW, SQUARE, WIDE = (2, 3), (1, 1, 14, 14), (1, 1, 12, 16)


class Net(nn.Module):
    """A layer that reads its own row alone, two samples behind."""

    def __init__(self, steps: Steps) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.steps, self.conv, self.down = steps, nn.Conv2d(1, 1, (1, 3)), nn.Conv2d(1, 1, (1, 4), stride=(1, 2))

    def behind(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(F.pad(x, (2, 0)))
        return found

    def forward(self, x: Tensor) -> Tensor:
        return self.steps(self, x)


def once_round(net: Net, x: Tensor) -> Tensor:
    for _ in range(4):
        x = rot90(x, 1, HW).relu()
    return net.behind(x)


def a_quarter(net: Net, x: Tensor) -> Tensor:
    return rot90(net.behind(rot90(x, 1, HW)), -1, HW)


def three_quarters(net: Net, x: Tensor) -> Tensor:
    return rot90(net.behind(rot90(x, 3, (-2, -1))), 5, HW)


def a_half(net: Net, x: Tensor) -> Tensor:
    return rot90(net.behind(rot90(x, 2, HW)), 2, HW)


def the_other_way(net: Net, x: Tensor) -> Tensor:
    return rot90(net.behind(rot90(x, 1, (3, 2))), 1, HW)


def a_half_and_flips(net: Net, x: Tensor) -> Tensor:
    return net.behind(rot90(x, 2, HW)).flip(2, 3)


def a_quarter_spelled_back(net: Net, x: Tensor) -> Tensor:
    return net.behind(rot90(x, 1, HW)).mT.flip(3)


def coarser(net: Net, x: Tensor) -> Tensor:
    return rot90(net.down(F.pad(rot90(x, 1, HW), (1, 1))), -1, HW)


def nothing(net: Net, x: Tensor) -> Tensor:
    return net.behind(rot90(x, 4, HW))


def ensemble(net: Net, x: Tensor) -> Tensor:
    ways = [rot90(net.behind(rot90(x, k, HW)), -k, HW) for k in range(4)]
    return torch.stack([*ways, rot90(net.behind(rot90(x.mT, 1, HW)), -1, HW).mT]).sum(0)


LOCAL: list[tuple[Steps, dict[str, tuple[int, int]]]] = [
    (once_round, {"H": (0, 0), "W": (2, 0)}),
    (a_quarter, {"H": (2, 0), "W": (0, 0)}),
    (three_quarters, {"H": (0, 2), "W": (0, 0)}),
    (a_quarter_spelled_back, {"H": (2, 0), "W": (0, 0)}),
    (a_half, {"H": (0, 0), "W": (0, 2)}),
    (the_other_way, {"H": (0, 2), "W": (0, 0)}),
    (a_half_and_flips, {"H": (0, 0), "W": (0, 2)}),
    (nothing, {"H": (0, 0), "W": (2, 0)}),
    (ensemble, {"H": (2, 2), "W": (2, 2)}),
]
"""The way back, and the context: a quarter turn makes rows of columns, from top to bottom."""


@pytest.mark.parametrize(("steps", "wanted"), LOCAL)
def test_context(steps: Steps, wanted: dict[str, tuple[int, int]]) -> None:
    shape = SQUARE if steps is ensemble else WIDE
    found = assert_reads(Net(steps), torch.rand(shape))
    assert {axis: found[axis].context for axis in found.axes} == {a: oc.Sides(*sides) for a, sides in wanted.items()}


@pytest.mark.parametrize("steps", [a_quarter, a_half_and_flips, coarser])
@pytest.mark.parametrize("schedule", ["crop", "trim", "stream", "passes"])
def test_blocks(steps: Steps, schedule: str) -> None:
    assert_same_by_blocks(Net(steps), torch.rand(WIDE), block=6, schedule=schedule)


def test_a_rotated_stride_reads_what_brute_force_finds() -> None:
    found = assert_reads(Net(coarser), torch.rand(WIDE))
    assert (found["H"].step, found["W"].step) == (2, 1)


def once(net: Net, x: Tensor) -> Tensor:
    return rot90(net.behind(x), 1, HW)


def twice(net: Net, x: Tensor) -> Tensor:
    return rot90(net.behind(rot90(x, 1, HW)), 1, HW)


def beside_itself(net: Net, x: Tensor) -> Tensor:
    return net.behind(rot90(x, 2, HW)) + x


def across(net: Net, x: Tensor) -> Tensor:
    return rot90(x, 1, HW) + net.behind(x)


@pytest.mark.parametrize("steps", [once, twice, beside_itself, across])
def test_others_are_refused_by_name_and_run_at_their_size(steps: Steps) -> None:
    net, x = Net(steps).double().eval(), torch.rand(SQUARE, dtype=torch.float64)
    assert "rot90" in {o.op.partition("::")[2] for o in oc.analyze(net, x).obstacles}
    with pytest.raises(oc.ObstacleError):
        oc.run(net, x, schedule="crop", block=5)
    whole = net(x)
    for schedule in ("trim", "stream", "passes"):
        try:
            found = oc.run(net, x, schedule=schedule, block=5)
        except oc.ObstacleError:
            assert steps is across  # rows and columns are mixed
            continue
        torch.testing.assert_close(found, whole, rtol=0, atol=1e-12)
