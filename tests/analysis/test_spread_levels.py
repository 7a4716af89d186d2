"""One sample that is spread over the image: noise levels, gains, masks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from shared.oracle import Dependency
from torch import Tensor, nn
from torch.nn import functional as F

import overlapcalc as oc

pytestmark = pytest.mark.usefixtures("traced_once")

LEVEL = (1, 1, 1, 1)
Steps = Callable[["Net", Tensor, Tensor], object]


class Net(nn.Module):
    """c: of an image and a level; d: of an image; far: of a level, over 9 samples."""

    def __init__(self, steps: Steps) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.c, self.d = nn.Conv2d(4, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.far, self.steps = nn.Conv2d(1, 3, 9, padding=4), steps

    def forward(self, x: Tensor, level: Tensor) -> object:
        return self.steps(self, x, level)


def _over(level: Tensor, x: Tensor) -> Tensor:
    return level.expand(-1, -1, *x.shape[2:])


def expanded(net: Net, x: Tensor, level: Tensor) -> Tensor:
    return net.c(torch.cat([x, _over(level, x)], 1))


def repeated(net: Net, x: Tensor, level: Tensor) -> Tensor:
    return net.c(torch.cat([x, level.repeat(1, 1, *x.shape[2:])], 1))


def expanded_as(net: Net, x: Tensor, level: Tensor) -> Tensor:
    return net.c(torch.cat([x, level.expand_as(x[:, :1])], 1))


def times_ones(net: Net, x: Tensor, level: Tensor) -> Tensor:
    return net.c(torch.cat([x, torch.ones_like(x[:, :1]) * level], 1))


def broadcast(net: Net, x: Tensor, level: Tensor) -> Tensor:
    return net.d(x) * level


def of_a_number(net: Net, x: Tensor, level: Tensor) -> Tensor:
    return expanded(net, x, level.reshape(()).reshape(1, 1, 1, 1))


def at_half(net: Net, x: Tensor, level: Tensor) -> Tensor:
    y = F.avg_pool2d(x, 2)
    return F.interpolate(net.c(torch.cat([y, _over(level, y)], 1)), scale_factor=2)


def convolved(net: Net, x: Tensor, level: Tensor) -> Tensor:
    return x + net.far(_over(level, x))


def beside(net: Net, x: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    return net.d(x), net.far(_over(level, x))


def flattened(net: Net, x: Tensor, level: Tensor) -> Tensor:
    h, w = x.shape[2:]
    return net.c(torch.cat([x, level.view(1, 1, 1).expand(1, 1, h * w).view(1, 1, h, w)], 1))


def columns_first(net: Net, x: Tensor, level: Tensor) -> Tensor:
    return net.c(torch.cat([x, level.expand(1, 1, x.shape[3], x.shape[2]).mT], 1))


def in_one_long_row(net: Net, x: Tensor, level: Tensor) -> Tensor:
    h, w = (n // 2 for n in x.shape[2:])
    y = level.flatten().repeat_interleave(h * w).unflatten(0, (h, w))[None, None]
    return net.c(torch.cat([x, F.interpolate(y, scale_factor=2.0)], 1))


def each_of_two(net: Net, x: Tensor, level: Tensor) -> Tensor:
    h, w = x.shape[2:]
    two = torch.cat([level, level * 2], 1).flatten(2).repeat(1, 1, h * w)
    return net.c(torch.cat([x[:, :2], two.view(1, 2, h, w)], 1))


def turned_with_the_image(net: Net, x: Tensor, level: Tensor) -> Tensor:
    return net.c(torch.cat([x.mT, _over(level, x).mT], 1)).mT


def a_row_turned(net: Net, x: Tensor, level: Tensor) -> Tensor:
    row = x[:, :1].mean(2, keepdim=True).expand(-1, -1, x.shape[2], -1)
    return net.c(torch.cat([x.mT, row.mT], 1)).mT * level


RUN = (
    expanded, repeated, expanded_as, times_ones, broadcast, of_a_number, at_half, convolved, beside, flattened,
    columns_first, in_one_long_row, each_of_two, turned_with_the_image,
)  # fmt: skip


@pytest.mark.parametrize("steps", RUN)
def test_levels_are_local(steps: Steps) -> None:
    net = Net(steps).eval().double()
    x, level = torch.randn(1, 3, 24, 16, dtype=torch.float64), torch.rand(LEVEL, dtype=torch.float64)
    analysis = oc.analyze(net, ((1, 3, 24, 16), LEVEL))
    assert not analysis.obstacles
    wanted = net(x, level)
    for schedule in ("crop", "trim", "stream", "passes"):
        found = oc.run(net, x, level, schedule=schedule, block=8)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 3, 24, 24), (1, 3, 24, 12), (1, 3, 25, 16)])
def test_what_is_turned_with_the_image_stays_local(shape: tuple[int, ...]) -> None:
    net = Net(turned_with_the_image).eval().double()
    assert not oc.analyze(net, (shape, LEVEL)).obstacles


def test_a_row_that_is_spread_and_turned_runs_by_passes() -> None:
    net = Net(a_row_turned).eval().double()
    x, level = torch.randn(1, 3, 16, 16, dtype=torch.float64), torch.rand(LEVEL, dtype=torch.float64)
    found = oc.run(net, x, level, schedule="passes", block=5)
    torch.testing.assert_close(found, net(x, level), rtol=0, atol=1e-12)


@pytest.mark.parametrize("steps", [expanded, repeated, broadcast, at_half, convolved, flattened])
def test_the_context_is_that_of_the_image(steps: Steps) -> None:
    """What is convolved of a level alone counts for the tile, not for the context."""
    net = Net(steps).eval().double()
    x, level = torch.randn(1, 3, 24, 16, dtype=torch.float64), torch.rand(LEVEL, dtype=torch.float64)
    axis = _pair(net)["H"]
    truth = Dependency(_Only(net, level), x, 2)
    spans = [truth.hull(o, o + 1) for o in range(8, 16)]
    before = max(o - span[0] for o, span in zip(range(8, 16), spans, strict=True) if span)
    after = max(span[1] - o - 1 for o, span in zip(range(8, 16), spans, strict=True) if span)
    assert (axis.reach.before, axis.reach.after) == (before, after)


def _pair(net: nn.Module) -> oc.Pair:
    (pair,) = (p for p in oc.analyze(net, ((1, 3, 24, 16), LEVEL)).pairs if p.input == "x")
    return pair


class _Only(nn.Module):
    """The net as a function of the image alone."""

    def __init__(self, net: nn.Module, level: Tensor) -> None:
        super().__init__()
        self.net, self.level = net, level

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.net(one[None], self.level) for one in x])


def test_a_tile_reaches_as_far_as_what_is_made_in_it() -> None:
    """A kernel of 9 samples at the border of a tile reads 4 of its padding."""
    net = Net(convolved).eval().double()
    pair = _pair(net)
    for axis in ("H", "W"):
        assert (pair[axis].context, pair[axis].tile) == (oc.Sides(0, 0), oc.Sides(4, 4))
    x, level = torch.randn(1, 3, 24, 16, dtype=torch.float64), torch.rand(LEVEL, dtype=torch.float64)
    wanted = net(x, level)[:, :, 8:16]
    for margin, same in ((4, True), (3, False)):
        tile = net(x[:, :, 8 - margin : 16 + margin], level)[:, :, margin : margin + 8]
        assert torch.allclose(tile, wanted, rtol=0, atol=1e-12) is same


# ---- what is no longer the same everywhere --------------------------------------------------------------------


def its_mean(net: Net, x: Tensor, level: Tensor) -> Tensor:
    return x + net.far(_over(level, x)).mean((2, 3), keepdim=True)


def its_sum(net: Net, x: Tensor, level: Tensor) -> Tensor:
    return x * _over(level, x).sum((2, 3), keepdim=True)


def one_number(net: Net, x: Tensor, level: Tensor) -> Tensor:
    return x + net.far(_over(level, x))[:, :, 1:].sum()


def laid_across(net: Net, x: Tensor, level: Tensor) -> Tensor:
    return x + net.far(level.expand(-1, -1, x.shape[3], x.shape[2])).transpose(2, 3)


def flipped(net: Net, x: Tensor, level: Tensor) -> Tensor:
    return x + net.far(_over(level, x)).flip(2)


def normed(net: Net, x: Tensor, level: Tensor) -> Tensor:
    return x + F.layer_norm(net.far(_over(level, x)), x.shape[3:])


def its_first_row(net: Net, x: Tensor, level: Tensor) -> Tensor:
    return x + net.far(_over(level, x))[:, :, :1]


def added_up(net: Net, x: Tensor, level: Tensor) -> Tensor:
    return x * _over(level, x).cumsum(2)


@pytest.mark.parametrize(
    "steps", [its_mean, its_sum, one_number, laid_across, flipped, normed, its_first_row, added_up]
)
def test_what_depends_on_the_size_is_refused_or_right(steps: Steps) -> None:
    """Nothing of the image is read there, and yet a tile of it would give something else."""
    net = Net(steps).eval().double()
    x, level = torch.randn(1, 3, 24, 16, dtype=torch.float64), torch.rand(LEVEL, dtype=torch.float64)
    assert oc.analyze(net, ((1, 3, 24, 16), LEVEL)).obstacles
    wanted = net(x, level)
    ran = set()
    for schedule in ("crop", "trim", "stream", "passes"):
        try:
            found = oc.run(net, x, level, schedule=schedule, block=8)
        except oc.OverlapcalcError:
            continue
        ran.add(schedule)
        torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-11)
    assert "passes" in ran
    assert "crop" not in ran
