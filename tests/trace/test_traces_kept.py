"""What tests trace once (shared/once.py): nets that are alike, and no two others."""

from __future__ import annotations

import pytest
import torch
from shared.once import Traces
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.ops import registry


class Scaled(nn.Module):
    def __init__(self, factor: float = 2.0, table: float = 1.0) -> None:
        super().__init__()
        self.factor, self.conv = factor, nn.Conv1d(1, 1, 3, padding=1)
        self.register_buffer("table", torch.full((2,), table))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * self.factor


class Other(Scaled):
    pass


def shared() -> nn.Module:
    conv = nn.Conv1d(1, 1, 3, padding=1)
    return nn.Sequential(conv, conv)


def apart() -> nn.Module:
    return nn.Sequential(nn.Conv1d(1, 1, 3, padding=1), nn.Conv1d(1, 1, 3, padding=1))


def viewed() -> nn.Module:
    """Two layers whose weights lie in one memory."""
    net, both = apart(), torch.rand(2, 1, 1, 3)
    for layer, weight in zip(net.children(), both, strict=True):
        layer.weight = nn.Parameter(weight)
    return net


def hooked() -> nn.Module:
    net = Scaled()
    net.register_forward_hook(lambda module, given, made: -made)
    return net


def traced(*nets: nn.Module, shape: tuple[int, ...] = (1, 1, 16)) -> int:
    """How many of these were traced, one after the other."""
    traces = Traces()
    with traces.once():
        for net in nets:
            oc.analyze(net, shape)
    return len(traces._made)


def test_nets_that_are_alike_are_traced_once() -> None:
    net = Scaled()
    assert traced(net, Scaled(), net) == 1  # whatever their weights
    with torch.no_grad():
        net.conv.weight *= 2
    assert traced(Scaled(), net) == 1


@pytest.mark.parametrize(("one", "other"), [
    (Scaled, lambda: Scaled(3.0)), (Scaled, lambda: Scaled(table=2.0)), (Scaled, lambda: Scaled(2)),  # type: ignore[arg-type]
    (Scaled, Other), (shared, apart), (viewed, apart), (Scaled, hooked), (hooked, hooked),
    (Scaled, lambda: Scaled().double()), (Scaled, lambda: Scaled().eval()),
    (nn.Identity, lambda: nn.Sequential(nn.Identity())), (lambda: nn.Conv1d(1, 1, 3), lambda: nn.Conv1d(1, 1, 3, dilation=2)),
])  # fmt: skip
def test_no_two_others_are_taken_for_each_other(one, other) -> None:
    assert traced(one(), other()) == 2


def test_a_buffer_that_was_changed_and_another_rule_make_another_net() -> None:
    net, traces = Scaled(), Traces()
    with traces.once():
        oc.analyze(net, (1, 1, 16))
        net.table[0] = 7
        oc.analyze(net, (1, 1, 16))
        assert len(traces._made) == 2
        with registry.kept():
            oc.unregister("aten::conv1d")
            oc.rule("aten::conv1d")(lambda call: call.local({}))
            assert not oc.analyze(net, (1, 1, 16)).blocking_free  # the rule says nothing of the weight
        assert oc.analyze(net, (1, 1, 16)).blocking_free
