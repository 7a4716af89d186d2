"""Programs that run at one size: what is made for it, and what its numbers suggest, is no law."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import overlapcalc as oc


class Grid(nn.Module):
    """Pools to 8 rows and columns, whatever the image; a quarter of these 32."""

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        return F.interpolate(F.adaptive_avg_pool2d(x, (8, 8)), scale_factor=4) * level


class Made(nn.Module):
    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        return x * F.avg_pool2d(torch.ones_like(x), 5, 1, 2) * level


class Spread(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        found: Tensor = self.conv(torch.cat([x, level.expand(-1, -1, 32, 32)], 1))
        return found


@pytest.mark.parametrize("net", [Grid(), Made(), Spread()], ids=["grid", "made", "spread"])
def test_a_program_of_one_size_is_refused(net: nn.Module) -> None:
    program = torch.export.export(net.eval(), (torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 1, 1)))
    assert not oc.analyze(program).blocking_free
