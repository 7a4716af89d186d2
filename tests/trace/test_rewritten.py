"""What a trace is rewritten into: shapes that stand in another tensor, pieces without samples."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from shared.blockwise import never_wrong
from shared.nets import Do
from torch import Tensor, nn

import overlapcalc as oc


def standardised(x: Tensor, weight: Tensor) -> Tensor:
    w = F.batch_norm(weight.reshape(1, 2, -1), None, None, training=True).reshape_as(weight)
    return F.conv1d(x, w, padding=1)


class Standardised(nn.Module):
    """A convolution whose weights are standardised on every call, as in NFNet."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 1, 3))

    def forward(self, x: Tensor) -> Tensor:
        return standardised(x, self.weight)


def reshaped(x: Tensor) -> Tensor:
    y = F.avg_pool1d(x, 3, 1, 1)
    return y.unsqueeze(1).reshape_as(x) + y.flatten(0, 1).view_as(x)


def repeated_never(x: Tensor) -> Tensor:
    """Padding in time by the first sample, of a kernel of 1: as in the causal convolutions of LTX and Cosmos."""
    return torch.cat([x[:, :, :1].repeat(1, 1, 0), F.avg_pool1d(x, 3, 1, 1)], 2)


def nothing_at_the_end(x: Tensor) -> Tensor:
    y = F.avg_pool1d(x, 3, 1, 1)
    return torch.cat([y, y[:, :, 4:4], x.new_zeros(1, 1, 0)], 2)


def nothing_of_another_type(x: Tensor) -> Tensor:
    """The result has the wider of both types."""
    return torch.cat([F.avg_pool1d(x, 3, 1, 1).float(), x[:, :, :0].double()], 2)


@pytest.mark.parametrize("function", [reshaped, repeated_never, nothing_at_the_end])
def test_it_is_local(function):
    net = Do("", function)
    assert tuple(oc.analyze(net, (1, 1, 32))["L"].context) == (1, 1)
    assert never_wrong(net, (1, 1, 40)) == "L"


def test_a_piece_of_another_type_is_not_dropped():
    """By blocks it gives the result its type, as it does on the whole."""
    net, x = Do("", nothing_of_another_type), torch.rand(1, 1, 40)
    assert net(x).dtype == torch.float64
    for schedule in ("crop", "trim", "stream", "passes"):
        got = oc.run(net, x, block=8, schedule=schedule)
        assert got.dtype == torch.float64
        assert torch.allclose(got, net(x), rtol=0, atol=1e-6)


def test_weights_made_of_weights():
    assert tuple(oc.analyze(Standardised(), (1, 1, 32))["L"].context) == (1, 1)
    assert never_wrong(Standardised(), (1, 1, 40)) == "L"
