"""Proofs 1 and 2 where kernels round: on CUDA, of nets that resize. CUDA itself is in benchmarks/cost/cuda.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.prove import verify
from overlapcalc.prove.dependency import SLACK, ProofSubject, dependency, minimality
from overlapcalc.prove.fillings import Fillings

pytestmark = pytest.mark.usefixtures("traced_once")

NET = nn.Upsample(scale_factor=3, mode="bilinear")
X = torch.randn(1, 1, 15, 15, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def leaking(weight: float, *, slack: float) -> ProofSubject:
    """The net, each of whose outputs also reads the last sample of the image, with this weight."""

    def run(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        y = NET(inputs["input"])
        return {"output": y + weight * inputs["input"][..., -1:, -1:]}

    analysis = oc.analyze(NET, X)
    plan = oc.plan(analysis, block=3, schedule="trim")
    net = analysis.variants.net
    return ProofSubject(analysis, net, plan, {"input": X}, run, run, (), Fillings(net.graph), slack)


def test_a_change_by_rounding_is_none_and_a_larger_one_is():
    assert dependency(leaking(1e-15, slack=0.0)).status == "refuted"
    rounded = dependency(leaking(1e-15, slack=SLACK))
    assert rounded.status == "proved"
    assert "1e-12 of the largest value, because CUDA rounds the weights of aten::upsample_bilinear2d" in rounded.reason
    assert dependency(leaking(1e-9, slack=SLACK)).status == "refuted"


def test_minimality_needs_a_change_beyond_rounding():
    def constant(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"output": torch.ones(1, 1, 45, 45, dtype=torch.float64) + 1e-16 * inputs["input"].sum()}

    def unchanged(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"output": torch.ones(1, 1, 45, 45, dtype=torch.float64)}

    subject = leaking(0.0, slack=SLACK)
    found = minimality(subject)
    assert (found.status, "undecided" in found.reason) == ("proved", False)
    blind = minimality(replace(subject, run=constant, livelier=constant))
    assert "12 sides are undecided, for what changes is no more than CUDA's rounding" in blind.reason
    assert blind.checks == 0
    assert minimality(replace(subject, run=unchanged, livelier=unchanged)).status == "refuted"


def test_where_nan_cannot_be_the_filling_livelier_weights_are_tried():
    """Also on the CPU, where a change must change no bit: depth may leave none."""
    subject = leaking(0.0, slack=0.0)
    assert dependency(subject).status == "proved"
    assert dependency(replace(subject, livelier=leaking(1.0, slack=0.0).run)).status == "refuted"


def test_rounding_is_measured_by_the_outputs_and_not_by_the_fillings():
    """Outputs that are huge where the filling lies say nothing about a block."""

    def huge(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        y = NET(inputs["input"])
        return {"output": torch.where(y.abs() > 9, 1e30, y) + 1e-6 * inputs["input"][..., -1:, -1:]}

    assert dependency(replace(leaking(0.0, slack=SLACK), run=huge)).status == "refuted"


def test_what_the_users_weights_hide_is_tried_with_livelier_ones():
    """Weights so small that a real dependency is lost in the slack."""
    subject = leaking(1e-14, slack=SLACK)
    assert dependency(subject).status == "proved"
    found = dependency(replace(subject, livelier=leaking(1.0, slack=SLACK).livelier))
    assert found.status == "refuted"
    assert "CUDA rounds the weights of aten::upsample_bilinear2d, which may be all" in found.failures[0]


def test_on_the_cpu_and_without_computed_weights_the_bits_must_be_the_same():
    assert Fillings(oc.analyze(NET, X).variants.net.graph).resizes == "aten::upsample_bilinear2d"
    masked = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Upsample(scale_factor=2))
    assert Fillings(oc.analyze(masked, (1, 1, 15, 15)).variants.net.graph).resizes == ""
    assert "largest value" not in oc.verify(NET, X)["dependency"].reason


@pytest.mark.parametrize("schedule", ["trim", "stream"])
def test_operands_of_a_slab_of_one_position_are_moved_as_those_of_the_whole(schedule):
    """A softmax over channels after a stride: bands of a net whose blocks are one output position."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(2, 4, 5, stride=5), nn.Softmax(1))
    with torch.no_grad():
        net[0].bias[0] += 5  # the largest channel everywhere, until the proof moves it
    found = oc.verify(net, (1, 2, 60), schedule=schedule, block=5)
    assert found.proved, found
    assert "operands of its comparisons moved" in found["values"].reason


class Largest(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.maximum(x, torch.ones_like(x) * 0.1)


def test_a_default_device_of_the_user_is_left_alone():
    mirrored = nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect")
    net, x = nn.Sequential(mirrored, nn.BatchNorm2d(2), nn.ReLU(), nn.Upsample(scale_factor=2, mode="bilinear")), X
    net = nn.Sequential(*net, Largest()).double().eval()
    with torch.no_grad():
        whole = net(x)
    torch.set_default_device("meta")  # of which every number that is put there by mistake is lost
    try:
        assert oc.verify(net, x, schedule="stream", block=4).proved
        for schedule in ("crop", "trim"):
            assert torch.allclose(oc.tiled(net, tuple(x.shape), schedule=schedule, block=6)(x), whole, atol=1e-12)
    finally:
        torch.set_default_device(None)


def test_a_device_that_is_not_there_is_refused_by_number(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert verify.device_of("cuda:1") == torch.device("cuda:1")
    with pytest.raises(oc.InputError, match="device='cuda:2': torch finds cuda:0, cuda:1 here"):
        verify.device_of("cuda:2")
