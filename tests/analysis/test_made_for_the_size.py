"""Constants that a net makes for the size of the image and that are the same everywhere but near its ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from shared.blockwise import errors
from torch import Tensor, nn
from torch.nn import functional as F

import overlapcalc as oc

pytestmark = pytest.mark.usefixtures("traced_once")

Steps = Callable[[Tensor], Tensor]


class Net(nn.Module):
    def __init__(self, steps: Steps) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        return self.steps(x)


def _pool(x: Tensor, k: int) -> Tensor:
    return F.avg_pool1d(x, k, 1, k // 2)


def over_its_own(x: Tensor) -> Tensor:
    return _pool(x, 3) / _pool(torch.ones_like(x), 3)


def times_the_pool_of_ones(x: Tensor) -> Tensor:
    return x * _pool(torch.ones_like(x), 9)


def over_how_many(x: Tensor) -> Tensor:
    kernel = torch.ones(1, 1, 5, dtype=x.dtype)
    return F.conv1d(x, kernel, padding=2) / F.conv1d(torch.ones_like(x), kernel, padding=2)


def ramps(x: Tensor) -> Tensor:
    i = torch.arange(x.shape[-1])
    return x * torch.minimum(i, x.shape[-1] - 1 - i).clamp(max=3)


def without_the_begin(x: Tensor) -> Tensor:
    mask = torch.ones_like(x)
    mask[..., :2] = 0
    return x * mask


def added_up(x: Tensor) -> Tensor:
    """What a transposed convolution adds up, and how often."""
    kernel = torch.ones(1, 1, 4, dtype=x.dtype)
    return (F.conv_transpose1d(x, kernel) / F.conv_transpose1d(torch.ones_like(x), kernel))[..., 1:-2]


ROWS = {
    over_its_own: ((1, 1), (1, 1)),
    times_the_pool_of_ones: ((0, 0), (4, 4)),
    over_how_many: ((2, 2), (2, 2)),
    ramps: ((0, 0), (3, 3)),
    without_the_begin: ((0, 0), (2, 0)),
    added_up: ((2, 1), (2, 1)),
}
"""Context and tile before and after, by the windows of the kernels."""


@pytest.mark.parametrize("steps", list(ROWS))
def test_context_and_tile(steps: Steps) -> None:
    net, x = Net(steps).double(), torch.rand(1, 1, 64, dtype=torch.float64) + 0.5
    found = oc.analyze(net, x)
    assert found.blocking_free
    context, tile = ROWS[steps]
    assert (found["L"].context, found["L"].tile) == (oc.Sides(*context), oc.Sides(*tile))
    assert max(errors(net, x).values()) <= 1e-12


@pytest.mark.parametrize("steps", list(ROWS))
def test_a_tile_of_one_sample_less_is_another(steps: Steps) -> None:
    net, x = Net(steps).double(), torch.rand(1, 1, 64, dtype=torch.float64) + 0.5
    (before, after), whole = ROWS[steps][1], net(x)

    def same(before: int, after: int) -> bool:
        tile = net(x[..., 24 - before : 40 + after])[..., before : before + 16]
        return tile.shape == (1, 1, 16) and torch.allclose(tile, whole[..., 24:40], rtol=0, atol=1e-12)

    assert same(before, after)
    assert not before or not same(before - 1, after)
    assert not after or not same(before, after - 1)


def in_two_directions(x: Tensor) -> Tensor:
    return x / F.avg_pool2d(torch.ones_like(x), 5, 1, 2)


def folded(x: Tensor) -> Tensor:
    def both(t: Tensor) -> Tensor:
        return F.fold(F.unfold(t, 3, padding=1), t.shape[2:], 3, padding=1)

    return both(x) / both(torch.ones_like(x))


def but_for_a_corner(x: Tensor) -> Tensor:
    mask = torch.ones_like(x)
    mask[..., :3, :2] = 0
    return x * mask


@pytest.mark.parametrize("steps", [in_two_directions, folded, but_for_a_corner])
def test_in_two_directions(steps: Steps) -> None:
    net, x = Net(steps).double(), torch.rand(1, 1, 24, 32, dtype=torch.float64) + 0.5
    assert oc.analyze(net, x).blocking_free
    assert max(errors(net, x).values()) <= 1e-12


# ---- what is not so -------------------------------------------------------------------------------------------


def positions(x: Tensor) -> Tensor:
    return x * torch.linspace(0, 1, x.shape[-1], dtype=x.dtype)


def a_border_that_grows(x: Tensor) -> Tensor:
    mask = torch.ones_like(x)
    mask[..., : x.shape[-1] // 16] = 0
    return x * mask


def a_border_that_shrinks_on_tiles(x: Tensor) -> Tensor:
    """The same at 64 samples and at more, but not at 40."""
    mask = torch.ones_like(x)
    mask[..., : min(8, x.shape[-1] // 6)] = 0
    return x * mask


def the_middle(x: Tensor) -> Tensor:
    mask = torch.ones_like(x)
    mask[..., x.shape[-1] // 2] = 0
    return x * mask


def written_into_a_part(x: Tensor) -> Tensor:
    """The border of what is written lies 5 samples behind that of the image."""
    made = _pool(torch.ones_like(x[..., 10:]), 5)
    y = x.clone()
    y[..., 5:-5] = y[..., 5:-5] * made
    return y


def every_second(x: Tensor) -> Tensor:
    y = x.clone()
    y[..., ::2] = _pool(torch.ones_like(x[..., ::2]), 5)
    return y


@pytest.mark.parametrize(
    "steps",
    [positions, a_border_that_grows, a_border_that_shrinks_on_tiles, the_middle, written_into_a_part, every_second],
)
def test_others_are_refused_or_right(steps: Steps) -> None:
    net, x = Net(steps).double(), torch.rand(1, 1, 64, dtype=torch.float64) + 0.5
    whole = net(x)
    for schedule in ("crop", "trim", "stream", "passes"):
        for block in (5, 16, 30):
            try:
                found = oc.run(net, x, schedule=schedule, block=block)
            except oc.OverlapcalcError:
                continue
            torch.testing.assert_close(found, whole, rtol=0, atol=1e-12)
