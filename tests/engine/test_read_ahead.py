"""A pass in which one tensor is read ahead of the band that leaves of it: no band of it is lost."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from shared.thorough import crossed
from torch import nn

import overlapcalc as oc
from overlapcalc.engine.schedules.stream import Column


class ReadAhead(nn.Module):
    """The rectified image is stored or reduced itself, and a convolution reads it many rows ahead in the same pass."""

    def __init__(self, *, reduced: bool) -> None:
        super().__init__()
        self.reduced, self.conv = reduced, nn.Conv2d(1, 1, 9, padding=4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(x)
        far = self.conv(F.max_pool2d(y, 2)).mean((2, 3), keepdim=True)
        if self.reduced:
            return far + y.mean((2, 3), keepdim=True)
        return y * y.sum((2, 3), keepdim=True).sqrt() + far


@pytest.mark.parametrize(("rows", "reduced"), crossed([2, 4, 5, 20], [False, True]))
def test_no_band_is_lost(reduced, rows):
    torch.manual_seed(0)
    net, x = ReadAhead(reduced=reduced).double().eval(), torch.rand(1, 1, 20, 6, dtype=torch.float64) - 0.3
    found = oc.run(net, x.numpy(), schedule="passes", block=rows, stream_axis="H")
    whole = net(x).detach()
    assert (found - whole).abs().max() <= 1e-14 * whole.abs().max()


def test_a_reduction_that_lacks_a_band_is_no_result(monkeypatch):
    given = Column.next

    def without(self: Column, outputs: dict) -> dict:
        """The band that begins at sample 4 is lost."""
        found = given(self, outputs)
        return {name: held for name, held in found.items() if held.region["H"].start != 4}

    monkeypatch.setattr(Column, "next", without)
    with pytest.raises(AssertionError, match=r"samples of .* came"):
        oc.run(ReadAhead(reduced=True).eval(), torch.rand(1, 1, 20, 6), schedule="passes", block=4, stream_axis="H")
