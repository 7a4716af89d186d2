"""Proofs about loops, and loops that are wrong in one place: each must be refuted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from shared.causal import causal_net
from shared.thorough import few
from torch import Tensor, nn

import overlapcalc as oc
from examples.lic.masked import MaskedConv2d
from overlapcalc.engine.loop import loop as loops
from overlapcalc.engine.loop import machine, program
from overlapcalc.engine.loop.demand import NEVER
from overlapcalc.engine.loop.kernels import Convolution
from overlapcalc.planning.stages import staged_order
from overlapcalc.planning.wavefront import Order

pytestmark = pytest.mark.usefixtures("traced_once")


def masked(inputs: int, outputs: int, *, own: bool) -> MaskedConv2d:
    taps = torch.zeros(3, 3, dtype=torch.bool)
    taps.view(-1)[: 4 + own] = True
    return MaskedConv2d(inputs, outputs, taps, "a mask")


def two_layers() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(masked(1, 3, own=False), nn.Tanh(), masked(3, 1, own=True))


def loop_of(net: nn.Module, shape: tuple[int, ...] = (1, 1, 5, 6)) -> oc.Loop:
    def never(cells: oc.Cells) -> Tensor:
        raise AssertionError("proofs call no hook of the user")

    return oc.Loop(net, [oc.Stage(("output",), never, feeds="input")], shape)


def statuses(loop: oc.Loop, order: str = "wavefront") -> dict[str, str]:
    return {proof.name: proof.status for proof in oc.verify(loop, order=order).proofs}


ALL = {"order": "proved", "fixed point": "proved", "values": "proved"}


@pytest.mark.parametrize("order", few(["wavefront", "raster"], 1))
def test_a_loop_that_is_right(order):
    assert statuses(loop_of(two_layers()), order) == ALL


@pytest.mark.parametrize("seed", few([2, 7, 11, 18, 28], 2))
def test_random_nets(seed):
    """Pads as operators, several images, strides and shuffles, one axis and three, and one without a bias."""
    net, shape = causal_net(seed)
    loop = oc.Loop(
        net, [oc.Stage(("output",), lambda cells: cells["output"], feeds="input")], torch.zeros(shape).double()
    )
    assert statuses(loop) == ALL


def test_an_order_that_is_too_short_is_refuted(monkeypatch):
    def hurried(name, readings, cells, stages):
        found = staged_order(name, readings, cells, stages)
        return replace(found, stages=tuple(Order(o.cells, tuple(t // 2 for t in o.times)) for o in found.stages))

    monkeypatch.setattr(loops, "staged_order", hurried)
    monkeypatch.setattr(loops, "_reads_early", lambda program: False)
    found = statuses(loop_of(two_layers()))
    assert found["order"] == found["fixed point"] == found["values"] == "refuted"


def test_an_order_that_is_longer_than_need_be_is_said_to_be(monkeypatch):
    """The control of "order" finds steps that wait for nothing: the first of a row does not read the last of the one
    above."""

    def slow(name, readings, cells, stages):
        return replace(staged_order("raster", readings, cells, stages), name=name)

    monkeypatch.setattr(loops, "staged_order", slow)
    proof = oc.verify(loop_of(two_layers()))["order"]
    assert "may not be needed" in proof.caveat


def test_a_tap_at_a_wrong_place_is_refuted(monkeypatch):
    made = machine.convolution

    def shifted(*given) -> Convolution | None:
        found = made(*given)
        if found is None or len(found.offsets) < 2:
            return found
        first, *others = found.offsets
        return replace(found, offsets=((first[0], first[1] - 1), *others))

    monkeypatch.setattr(machine, "convolution", shifted)
    found = statuses(loop_of(two_layers()))
    assert found["order"] == "proved"  # it looks at whole runs alone
    assert found["fixed point"] == found["values"] == "refuted"


def test_a_slot_that_is_used_again_too_early_is_refuted(monkeypatch):
    made = program.allotted
    monkeypatch.setattr(program, "allotted", lambda first, last: made(first, torch.minimum(last, first + 1)))
    found = statuses(loop_of(two_layers()))
    assert found["fixed point"] == found["values"] == "refuted"


def test_a_hidden_sample_that_is_made_too_early_is_refuted(monkeypatch):
    made = program.demand

    def early(net, axes, nodes, roots):
        found = made(net, axes, nodes, roots)
        sooner = {
            name: torch.where((t == NEVER) | (t == 0) | (name in roots), t, t - 1) for name, t in found.made.items()
        }
        return replace(found, made=sooner)

    monkeypatch.setattr(program, "demand", early)
    monkeypatch.setattr(loops, "_reads_early", lambda program: False)
    found = oc.verify(loop_of(two_layers()))
    assert found["fixed point"].status == found["values"].status == "refuted"


def test_what_verify_takes_of_a_loop():
    loop = loop_of(two_layers())
    found = oc.verify(loop)
    assert (found.cells, found.steps, found.order) == ((5, 6), 2 * 4 + 6, "wavefront")
    assert found.to_dict()["proofs"][0]["name"] == "order"
    with pytest.raises(oc.InputError, match="order='x': expected"):
        oc.verify(loop, order="x")
    with pytest.raises(oc.InputError, match="1 inputs; expected none"):
        oc.verify(loop, [torch.zeros(1)])
    for option, said in [({"block": 8}, "block=8: that is of blocks"), ({"bit_exact": True}, "bit_exact=True: that is"),
                         ({"axes": "H"}, "axes='H': a loop has its own; give it to Loop")]:  # fmt: skip
        with pytest.raises(oc.InputError, match=said):
            oc.verify(loop, **option)
    with pytest.raises(oc.InputError, match="order='raster': that is of a Loop"):
        oc.verify(two_layers(), (1, 1, 8, 8), order="raster")
