"""No more traces than the answer needs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from shared.nets import Do
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.trace import export, lowering


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the first input at which a net is traced, in turn."""
    seen: list[tuple[int, ...]] = []
    real = lowering.export

    def counted(model, inputs):
        seen.append(tuple(inputs[0].shape))
        return real(model, inputs)

    monkeypatch.setattr(lowering, "export", counted)
    return seen


class PaddedToEight(nn.Module):
    """Pads to a multiple of 8, halves twice, and weighs by the mean of the whole in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.down = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 2, stride=2)
        self.up = nn.ConvTranspose2d(2, 1, 8, stride=8)
        self.pool = nn.AvgPool2d(4)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        y = self.down(self.first(F.pad(x, (0, -w % 8, 0, -h % 8))))
        y = self.pool(y * y.mean((2, 3), keepdim=True))
        return self.up(y)[:, :, :h, :w]


def test_the_part_before_the_obstacles_is_compared_where_the_whole_was(traces):
    a = oc.analyze(PaddedToEight(), (1, 1, 32, 32))
    whole = len(traces)
    features = a.features
    assert features.outputs == {"down": (1, 2, 16, 16)}
    assert whole == 2
    assert len(traces) == len(set(traces)) <= whole + 3
    # padding happens at the end alone and the convolutions are the same at all sizes: what it needs is theirs
    assert features["H"].step == 8
    assert tuple(features["H"].context) == (1, 1)


def test_a_net_that_runs_at_one_size_is_tried_in_one_way_elsewhere(traces, monkeypatch):
    strict = []
    real = export._strict
    monkeypatch.setattr(export, "_strict", lambda *given: strict.append(given) or real(*given))
    net = Do("", lambda x: x * torch.ones(16)[: x.shape[2]] if x.shape[2] == 16 else 1 / 0)
    a = oc.analyze(net, (1, 1, 16))
    assert not a.size_verified
    assert len(traces) == len(set(traces))
    assert strict == []
