"""Recurrent layers in both directions: to and fro over what passes have stored, band by band."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from shared.thorough import crossed
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.ops import scans
from overlapcalc.ops.rules import scans as family

pytestmark = pytest.mark.usefixtures("traced_once")

SHAPE = (1, 3, 23, 4)


class Columns(nn.Module):
    """A recurrent layer down every column, between two convolutions."""

    def __init__(self, kind: type[nn.RNNBase] = nn.LSTM, layers: int = 1, *, first: bool = False, **more) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = first
        self.before = nn.Conv2d(3, 4, 3, padding=1)
        self.rows = kind(4, 5, layers, bidirectional=True, batch_first=first, **more)
        self.after = nn.Conv2d(2 * (more.get("proj_size") or 5), 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        b, c, h, w = x.shape
        y = x.permute(2, 0, 3, 1).reshape(h, b * w, c)
        y = self.rows(y.transpose(0, 1))[0].transpose(0, 1) if self.first else self.rows(y)[0]
        return self.after(y.reshape(h, b, w, -1).permute(1, 3, 0, 2))


def given(net: nn.Module) -> tuple[nn.Module, Tensor]:
    return net.double().eval(), torch.randn(SHAPE, dtype=torch.float64)


KINDS = {
    "lstm": Columns(),
    "two layers": Columns(nn.GRU, 2),
    "batch first": Columns(nn.RNN, first=True),
    "projected": Columns(nn.LSTM, 2, proj_size=2),
    "without a bias": Columns(nn.GRU, bias=False),
}


@pytest.mark.parametrize(("kind", "rows"), crossed(KINDS, [5, 64, 1]))
def test_both_directions_give_what_the_layer_gives(kind, rows):
    net, x = given(KINDS[kind])
    run = oc.run(net, x, schedule="passes", stream_axis="H", block=rows)
    assert torch.allclose(run, net(x), rtol=0, atol=1e-12)


def test_it_is_a_scan_and_its_operand_is_not_held():
    net, x = given(Columns(layers=2))
    analysis = oc.analyze(net, x)
    assert {(c.axis, c.kind) for c in analysis.classes} == {("H", "scan")}
    least = oc.plan(analysis, schedule="passes", stream_axis="H", block=2, memory=None)
    tiled = oc.tiled(net, schedule="passes", stream_axis="H", memory=least.memory.total)
    plan = tiled.plan(x.shape)
    one, two = plan.passes.each
    assert (one.stores, two.swept, two.whole, two.stores) == (("reshape",), (("rows", "aten::lstm"),), (), ("rows",))
    assert not any(stored.kept for stored in plan.passes.stored)
    rows, hidden = 23 * 4 * 8, (4, 5, 10, 5, 10)  # the operand, then of each layer the way forward, and both
    assert two.written == rows * sum(hidden[1:])
    assert two.read == rows * ((4 + 4 + 5) + (10 + 10 + 5) + 10)  # each way, and the convolution
    assert torch.allclose(tiled(x), net(x), rtol=0, atol=1e-12)


def test_its_memory_does_not_grow_with_the_axis():
    net = Columns().double().eval()
    shapes = [(1, 3, 20, 4), (1, 3, 40, 4)]
    stored = [oc.plan(net, torch.empty(s).double(), schedule="passes", stream_axis="H", block=4, stored=True)
              for s in shapes]  # fmt: skip
    assert stored[0].memory.activations == stored[1].memory.activations
    assert 2 * stored[0].passes.written == stored[1].passes.written


def test_without_a_disk_it_is_kept_in_memory():
    net, x = given(Columns())
    plan = oc.plan(net, x, schedule="passes", stream_axis="H", block=5, disk=0)
    assert plan.passes.disk == 0
    assert all(one.kept for one in plan.passes.stored)
    with pytest.raises(oc.InputError, match="no passes fit into 8 KiB and 0 B of disk"):
        oc.plan(net, x, schedule="passes", stream_axis="H", memory=8192, disk=0)


def test_it_is_proved_and_refuted_where_a_state_is_lost(monkeypatch):
    net, x = given(Columns())
    assert oc.verify(net, x, schedule="passes", stream_axis="H").proved

    def forgetful(call):
        return tuple(
            replace(way, run=lambda band, read, _, run=way.run: run(band, read, None)) for way in family.ways(call)
        )

    lost = scans.Sweep(family.runs_both_ways, forgetful)
    monkeypatch.setattr("overlapcalc.engine.schedules.passes.sweep_of", lambda op: lost)
    found = {proof.name: proof.status for proof in oc.verify(net, x, schedule="passes", stream_axis="H").proofs}
    assert found["values"] == "refuted"
    assert found["exact twin"] in ("refuted", "not applicable")


def test_a_first_state_of_data_runs_whole():
    class Started(Columns):
        def forward(self, x: Tensor) -> Tensor:
            b, _, h, w = x.shape
            start = x.mean((2, 3))[:, :1].expand(b * w, 5)[None].expand(2, -1, -1).contiguous()
            y = self.rows(self.before(x).permute(2, 0, 3, 1).reshape(h, b * w, 4), (start, start))[0]
            return self.after(y.reshape(h, b, w, 10).permute(1, 3, 0, 2))

    net, x = given(Started())
    plan = oc.plan(net, x, schedule="passes", stream_axis="H", block=5)
    assert not any(one.swept for one in plan.passes.each)
    assert torch.allclose(oc.run(net, x, schedule="passes", stream_axis="H", block=5), net(x), rtol=0, atol=1e-12)
