"""Transposed convolutions by trim and stream: one convolution per phase, and its cost as torch counts it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shared.once import Traces
from shared.thorough import few
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import overlapcalc as oc
from overlapcalc.ops.rules import conv

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def error(y: Tensor, z: Tensor) -> float:
    return float((y - z).abs().max() / z.abs().max())


def counted(net: nn.Module, x: Tensor) -> int:
    """Multiply-accumulates of all kernels that a call of the net runs, after a first one, which plans."""
    net(x)
    with FlopCounterMode(display=False) as counter:
        net(x)
    return counter.get_total_flops() // 2


@st.composite
def between_convolutions(draw: st.DrawFn) -> tuple[nn.Module, Tensor, int]:
    """A transposed convolution of any kind between two convolutions, an input, and a block: of one axis any, of several
    no such small one that there are hundreds of blocks."""
    n = draw(st.integers(1, 3))
    each = lambda least, most: [draw(st.integers(least, most)) for _ in range(n)]  # noqa: E731
    kernel, stride, dilation = each(1, 5), each(1, 3), each(1, 3)
    padding = [draw(st.integers(0, d * (k - 1))) for d, k in zip(dilation, kernel, strict=True)]
    more = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)]
    middle = TRANSPOSED[n](
        4, 2, kernel, stride, padding, more, draw(st.sampled_from([1, 2])), draw(st.booleans()), dilation
    )
    net = nn.Sequential(CONV[n](2, 4, 3, padding=1), middle, CONV[n](2, 2, 3, padding=1)).double().eval()
    x = torch.rand(draw(st.integers(1, 2)), 2, *each(7, 12 if n < 3 else 9), dtype=torch.float64)
    return net, x, draw(st.integers(*{1: (2, 9), 2: (5, 11), 3: (7, 13)}[n]))


@settings(max_examples=5, deadline=None)
@given(between_convolutions(), st.sampled_from(["trim", "stream"]))
def test_any_of_them_gives_what_the_whole_gives_at_the_cost_that_was_planned(
    made: tuple[nn.Module, Tensor, int], schedule: str
) -> None:
    net, x, block = made
    try:
        whole = net(x)
    except RuntimeError:  # an output without samples
        return
    if not whole.numel():
        return
    with Traces().once():
        tiled = oc.tiled(net, x.shape, schedule=schedule, block=block)
        assert error(tiled(x), whole) < 1e-12
        assert oc.plan(net, x.shape, schedule=schedule, block=block).work.kernel_macs == counted(tiled, x)


def test_in_bands_nothing_is_computed_twice() -> None:
    """k5 s2: of the 25 taps each phase has 9, 6, 6 or 4, so bands of whole periods cost what is needed."""
    net, x = nn.ConvTranspose2d(3, 2, 5, 2, 2, 1), torch.rand(1, 3, 10, 12)
    tiled = oc.tiled(net, x.shape, schedule="stream", stream_axis="W", block=4)
    assert counted(tiled, x) == 3 * 2 * 25 * 10 * 12 == counted(net, x)


def test_a_phase_without_taps_is_run_as_it_is() -> None:
    """k2 s3: every third output is nothing but bias."""
    net, x = nn.ConvTranspose1d(2, 3, 2, 3), torch.rand(1, 2, 20)
    for schedule in ("trim", "stream"):
        assert error(oc.run(net, x, schedule=schedule, block=6), net(x)) < 1e-6


@pytest.mark.parametrize("schedule", few(["trim", "stream"], 1))
def test_proved(schedule: str) -> None:
    net = nn.Sequential(
        nn.ConvTranspose2d(2, 4, 5, 2, 2, 1), nn.ReLU(), nn.ConvTranspose2d(4, 4, (3, 4), (2, 3), 1, 0, 2), nn.ReLU()
    )
    v = oc.verify(net, (1, 2, 11, 13), block=12, schedule=schedule)
    assert v.proved, v
    assert {p.status for p in v.proofs} == {"proved"}


@pytest.mark.parametrize("off", few([1, -1], 1))
def test_phases_that_read_beside_their_samples_are_refuted(off: int, monkeypatch: pytest.MonkeyPatch) -> None:
    right = conv._phases
    monkeypatch.setattr(conv, "_phases", lambda *of: [p._replace(begins=p.begins + off) for p in right(*of)])
    net = nn.Sequential(nn.ConvTranspose2d(2, 4, 5, 2, 2, 1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1))
    v = oc.verify(net, (1, 2, 11, 13), block=6, schedule="trim")
    assert v["exact twin"].status == v["values"].status == "refuted"
