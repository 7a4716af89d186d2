"""Passes run at one size, so a net that is to go by passes is traced at no other."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import overlapcalc as oc
from overlapcalc.analysis import analyze as module


class Unrolled(nn.Module):
    """A loop over the columns: at another size it is another net."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 2, 3, padding=1), nn.GroupNorm(1, 2)

    def forward(self, x):
        y = self.norm(self.conv(x))
        columns = [y[:, :, :, 0]]
        for i in range(1, y.shape[3]):
            columns.append(y[:, :, :, i] + columns[-1] / 2)
        return torch.stack(columns, 3)


@pytest.fixture
def traced(monkeypatch):
    """The shapes at which a net is traced."""
    seen, trace = [], module.trace

    def noted(model, shapes, *rest):
        seen.append(shapes)
        return trace(model, shapes, *rest)

    monkeypatch.setattr(module, "trace", noted)
    return seen


@pytest.mark.parametrize("way", ["plan", "run", "verify"])
def test_one_trace_is_enough(traced, way):
    net, x = Unrolled().double().eval(), torch.randn(1, 2, 16, 5, dtype=torch.float64)
    if way == "plan":
        oc.plan(net, x, schedule="passes", stream_axis="H", block=4)
    elif way == "run":
        found = oc.run(net, x, schedule="passes", stream_axis="H", block=4)
        assert torch.allclose(found, net(x), rtol=0, atol=1e-12)
    else:
        assert oc.verify(net, x, schedule="passes", stream_axis="H", block=4).proved
    assert set(traced) == {((1, 2, 16, 5),)}
    assert len(traced) == 1


def test_a_batch_is_traced_for_one_image_as_well(traced):
    net = Unrolled().double().eval()
    oc.plan(net, torch.empty(3, 2, 16, 5).double(), schedule="passes", stream_axis="H", block=4)
    assert traced == [((3, 2, 16, 5),), ((1, 2, 16, 5),)]
