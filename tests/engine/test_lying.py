"""Operators that read memory as it lies, behind passes that store tensors in an order of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import overlapcalc as oc

pytestmark = pytest.mark.usefixtures("traced_once")

SHAPE = (1, 4, 24, 16)


class Net(nn.Module):
    def __init__(self, steps: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.steps = nn.Conv2d(4, 4, 3, padding=1, dtype=torch.float64), steps

    def forward(self, x: Tensor) -> Tensor:
        return self.steps(self.conv(x))


def _channels_last(y: Tensor) -> Tensor:
    return y.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


STEPS: dict[str, Callable[[Tensor], Tensor]] = {
    "as it is": lambda y: y.as_strided(y.shape, y.stride()),
    "a part": lambda y: y.as_strided((1, 4, 24, 4), (1536, 384, 16, 4), 1),
    "another order": lambda y: _channels_last(y).as_strided(y.shape, (1536, 1, 64, 4)),
    "complex": lambda y: torch.view_as_complex(y.reshape(1, 2, 2, 24, 16).permute(0, 1, 3, 4, 2).contiguous()).real,
    "as bits": lambda y: y.contiguous().view(torch.int32).view(torch.float64),
}


@pytest.mark.parametrize("options", [{}, {"disk": 0}])
@pytest.mark.parametrize("name", list(STEPS))
def test_what_is_read_lies_as_in_the_net(name: str, options: dict[str, Any]) -> None:
    net, x = Net(STEPS[name]).eval(), torch.randn(SHAPE, dtype=torch.float64)
    found = oc.run(net, x, schedule="passes", block=8, **options)
    torch.testing.assert_close(found, net(x), rtol=0, atol=1e-9)


def test_memory_beyond_the_operand_is_refused() -> None:
    net = Net(lambda y: y[:, 1:3].as_strided((1, 2, 24, 16), (768, 384, 16, 1), 384)).eval()
    with pytest.raises(oc.OverlapcalcError, match="memory beyond its operand"):
        oc.run(net, torch.randn(SHAPE, dtype=torch.float64), schedule="passes", block=8)
