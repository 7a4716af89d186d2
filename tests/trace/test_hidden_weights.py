"""Weights out of sight, and taps that training could switch off: they count like any others."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from shared.blockwise import Fn
from shared.thorough import few
from torch import nn

import overlapcalc as oc


@pytest.mark.parametrize(
    ("weigh", "weight"),
    [
        (lambda w: F.relu(-w), -torch.ones(1, 1, 3, 3)),
        (lambda w: w * (w.abs() >= w.abs().median()), torch.rand(1, 1, 3, 3)),
        (lambda w: F.relu(w - w.mean()), torch.ones(1, 1, 3, 3)),
    ],
)
def test_taps_that_training_could_switch_off_count(weigh, weight):
    net = Fn(lambda s, x: F.conv2d(x, weigh(s.w), padding=1), w=nn.Parameter(weight))
    assert tuple(oc.analyze(net, (1, 1, 20, 20))["W"].context) == (1, 1)


class Closure(nn.Module):
    """A lambda over the original, which a copy of the module does not redirect."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 1, 3, padding=1), nn.BatchNorm2d(1)
        nn.init.dirac_(self.conv.weight)
        self.function = lambda x: self.norm(self.conv(x))

    def forward(self, x):
        return self.function(x)


class Unregistered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = [nn.Parameter(torch.zeros(1, 1, 3, 3))]

    def forward(self, x):
        return F.conv2d(x, self.weights[0], padding=1)


@pytest.mark.parametrize("build", few([Closure, Unregistered], 1))
def test_weights_out_of_sight_are_weights(build):
    net = build().train()
    assert tuple(oc.analyze(net, (1, 1, 20, 20))["W"].context) == (1, 1)
    assert all(m.training for m in net.modules())
    if isinstance(net, Closure):
        assert int(net.norm.num_batches_tracked) == 0


def test_sizes_that_do_not_fit_are_said_before_data():
    """A net that writes through `.data`, and adds tensors of two sizes, fails at these sizes for that alone."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            self.conv.weight.data *= 0.5
            return torch.cat([self.conv(x), y], 1)

    assert oc.analyze(Both(), [(1, 1, 8, 12), (1, 1, 8, 12)]).blocking_free
    with pytest.raises(
        oc.TraceError, match=r"at input 1x1x8x12, 1x1x8x10: forward fails with RuntimeError: "
    ) as caught:
        oc.analyze(Both(), [(1, 1, 8, 12), (1, 1, 8, 10)])
    assert ".data" not in str(caught.value)
