"""Nets on which a second attack found passes wrong, or stuck."""

from __future__ import annotations

import pytest
import torch
from shared.nets import Do
from torch import Tensor, nn

import overlapcalc as oc

pytestmark = pytest.mark.usefixtures("traced_once")


class Named(nn.Module):
    """The input has the name of an output, and its dimensions stand in another order there."""

    def forward(self, output: Tensor) -> Tensor:
        return (output * output.mean((2, 3), keepdim=True)).permute(1, 0, 3, 2)


def test_an_input_with_the_name_of_an_output_keeps_its_own_labels():
    net, x = Named(), torch.randn(3, 4, 9, 6, dtype=torch.float64)
    assert list(oc.analyze(net, x).outputs) == ["output'"]
    assert torch.allclose(oc.run(net, x, schedule="passes", block=4), net(x), rtol=0, atol=1e-12)


def test_what_is_empty_along_the_axis_is_dropped_where_it_changes_nothing():
    net = Do("empty", lambda x: torch.cat([x.relu(), x[:, :, :0]], 2))
    x = torch.randn(1, 1, 16, 8)
    assert torch.equal(oc.run(net, x, schedule="passes", stream_axis="H", block=4), net(x))


def test_one_piece_of_a_split_that_is_empty_along_the_axis_is_refused_by_name():
    net = Do("empty", lambda x: torch.cat([x.relu(), x.double().split([16, 0], 2)[1]], 2))
    with pytest.raises(oc.OverlapcalcError, match="gives no samples along H"):
        oc.run(net, torch.rand(1, 1, 16, 8), schedule="passes", stream_axis="H", block=4)
