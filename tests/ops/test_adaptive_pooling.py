"""Adaptive pooling to a part of the length: a pooling whose kernel is its stride, where the output follows the image."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from shared.blockwise import errors
from torch import Tensor, nn
from torch.nn import functional as F

import overlapcalc as oc

pytestmark = pytest.mark.usefixtures("traced_once")

Pool = Callable[[Tensor], Tensor]


class Net(nn.Module):
    def __init__(self, pool: Pool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.pool, self.conv = pool, nn.Conv2d(1, 1, 3, padding=1, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(self.pool(x))
        return found


def of_area(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=0.5, mode="area")


def to_half(x: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(x, (x.shape[2] // 2, x.shape[3] // 2))


def to_a_quarter(x: Tensor) -> Tensor:
    return F.adaptive_max_pool2d(x, (x.shape[2] // 4, x.shape[3] // 4))


def to_a_grid(x: Tensor) -> Tensor:
    return F.adaptive_max_pool2d(x, (8, 5))


@pytest.mark.parametrize(("pool", "k"), [(of_area, 2), (to_half, 2), (to_a_quarter, 4)])
def test_to_a_part_is_local(pool: Pool, k: int) -> None:
    net, x = Net(pool).eval(), torch.randn(1, 1, 32, 40, dtype=torch.float64)
    found, same = oc.analyze(net, x), oc.analyze(Net(nn.AvgPool2d(k)).eval(), x)
    assert found.blocking_free
    for axis in ("H", "W"):
        assert (found[axis].context, found[axis].step) == (same[axis].context, same[axis].step)
    assert max(errors(net, x).values()) <= 1e-12


@pytest.mark.parametrize("shape", [(1, 1, 32, 40), (1, 1, 33, 41)])
def test_to_a_grid_runs_at_its_size(shape: tuple[int, ...]) -> None:
    net, x = Net(to_a_grid).eval(), torch.randn(shape, dtype=torch.float64)
    found = oc.analyze(net, x)
    assert {o.cause for o in found.obstacles} == {"adaptive-pooling"}
    for schedule in ("trim", "stream", "passes"):
        torch.testing.assert_close(oc.run(net, x, schedule=schedule, block=3), net(x), rtol=0, atol=1e-12)


def test_what_does_not_divide_is_a_table() -> None:
    net, x = Net(to_half).eval(), torch.randn(1, 1, 33, 41, dtype=torch.float64)
    with pytest.raises(oc.ObstacleError):
        oc.run(net, x, schedule="crop", block=4)
    for schedule in ("trim", "stream", "passes"):
        torch.testing.assert_close(oc.run(net, x, schedule=schedule, block=3), net(x), rtol=0, atol=1e-12)


def test_an_odd_length_that_was_halved_runs_at_its_size() -> None:
    """Back to a length that is no multiple: at an even one it is nearest upsampling by 2."""

    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv = nn.Conv1d(1, 1, 3, padding=1, dtype=torch.float64)

        def forward(self, x: Tensor) -> Tensor:
            return x + F.interpolate(self.conv(F.max_pool1d(x, 2)), size=x.shape[-1], mode="nearest")

    net = Skip().eval()
    even, odd = torch.randn(1, 1, 64, dtype=torch.float64), torch.randn(1, 1, 65, dtype=torch.float64)
    assert oc.analyze(net, even).blocking_free
    found = oc.analyze(net, odd)
    assert [o.message for o in found.obstacles] == ["resamples 32 samples to 65, by no factor that other sizes have"]
    for schedule in ("trim", "stream", "passes"):
        torch.testing.assert_close(oc.run(net, odd, schedule=schedule, block=8), net(odd), rtol=0, atol=1e-12)
