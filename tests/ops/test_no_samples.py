"""Tensors without samples, of which the type alone is used: answered, and their type counts in every schedule."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from shared.nets import Do
from torch import Tensor, nn

import overlapcalc as oc

pytestmark = pytest.mark.usefixtures("traced_once")

DOUBLE = torch.float64
EMPTY: dict[str, Callable[[Tensor], Tensor]] = {
    "another type behind": lambda x: torch.cat([x, x[:, :, :0].double()], 2).sin(),
    "another type before": lambda x: torch.cat([x[:, :, :0].double(), x], 2).sin(),
    "computed": lambda x: torch.cat([x, x[..., 5:5].double().relu() * 2 + 1], 3).sin(),
    "at the end": lambda x: torch.cat([x, x[..., x.shape[-1] :].double()], 3).sin(),
    "padded": lambda x: x + F.pad(x[:, :, :0], (0, 0, 1, 0))[:, :, :1].double(),
    "zeros like it": lambda x: torch.cat([torch.zeros_like(x[:, :, :0]), x], 2),
    "as its type": lambda x: x + torch.ones(1, dtype=DOUBLE).type_as(x[:, :, :0]),
    "to it": lambda x: x + torch.ones(1).to(x[:, :, :0].double()),
    "an empty constant": lambda x: torch.cat([torch.zeros(1, 1, 0, x.shape[-1], dtype=DOUBLE), x], 2).sin(),
    "a constant beyond most blocks": lambda x: torch.cat([torch.zeros(1, 1, 1, x.shape[-1], dtype=DOUBLE), x], 2).sin(),
}


def empty(name: str) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), Do(name, EMPTY[name])).eval()


@pytest.mark.parametrize("name", EMPTY)
def test_their_type_counts_in_every_schedule(name: str) -> None:
    net, x = empty(name), torch.randn(1, 1, 24, 24)
    with torch.no_grad():
        wanted = net(x)
    for schedule in ("crop", "trim", "stream", "passes"):
        got = oc.run(net, x, schedule=schedule, block=8)
        assert got.dtype == wanted.dtype
        assert (got - wanted).abs().max() <= 1e-6 * wanted.abs().max()


@pytest.mark.parametrize("name", ["another type behind", "computed"])
def test_nothing_is_read_of_them(name: str) -> None:
    net = empty(name)
    found = oc.analyze(net, (1, 1, 24, 24))
    assert {axis: tuple(found[axis].context or ()) for axis in "HW"} == {"H": (1, 1), "W": (1, 1)}
    assert oc.verify(net, (1, 1, 24, 24), block=8).proved


def test_an_output_without_samples_is_refused_as_one() -> None:
    with pytest.raises(oc.OverlapcalcError, match="output is empty along H"):
        oc.plan(Do("nothing", lambda x: x.relu()[:, :, :0]), (1, 1, 16, 16), block=8)
