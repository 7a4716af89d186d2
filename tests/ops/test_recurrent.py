"""Recurrent layers over windows of an image: a step reads no further than to where it has come."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from shared.blockwise import never_wrong
from shared.thorough import crossed, few
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.ops.rules.recurrent import recurrent
from overlapcalc.testing import BruteForce

RIGHT_STATES = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 12)
"""torch 2.11 traces those of an LSTM with one dimension too many."""


class OverWindows(nn.Module):
    """A recurrent layer over every four columns. states: each window gives its last state, at all of its columns."""

    def __init__(self, kind: type[nn.RNNBase], states: bool = False, both_ways: bool = False) -> None:
        super().__init__()
        self.states = states
        self.layer = kind(3, 3, batch_first=True, bidirectional=both_ways)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        steps = x.permute(0, 2, 3, 1).reshape(n * h * w // 4, 4, c)
        y, last = self.layer(steps)
        if self.states:
            last = last[0] if isinstance(last, tuple) else last
            y = last[0][:, None].expand(-1, 4, -1)
        return y.reshape(n, h, w, y.shape[2]).permute(0, 3, 1, 2)


@pytest.mark.parametrize(("kind", "form"), crossed([nn.GRU, nn.LSTM, nn.RNN], ["states", "steps", "both ways"]))
def test_windows_are_local_and_only_last_states_are_said_to_read_all_of_one(kind, form):
    if kind is nn.LSTM and form == "states" and not RIGHT_STATES:
        pytest.skip("this torch traces the states of an LSTM with a wrong shape")
    model = OverWindows(kind, states=form == "states", both_ways=form == "both ways").double().eval()
    x = torch.rand(1, 3, 2, 12, dtype=torch.float64)
    w = oc.analyze(model, x)["W"]
    truth = BruteForce(model, x, "W", out_dim=3)
    for o in range(12):
        said, first = w.reads(o, o + 1, size=12), o // 4 * 4
        assert said == oc.Span(first, first + 4)
        expected = range(first, first + 4) if form != "steps" else range(first, o + 1)
        assert list(truth.of(o, o + 1).certain) == list(expected)
    assert w.exact == (form == "states")


def test_states_that_a_torch_traces_with_a_wrong_shape_are_refused():
    class Wrong(SimpleNamespace):
        def __getitem__(self, name: str) -> object:
            return {"batch_first": True}[name]

    call = Wrong(node=SimpleNamespace(result=1, layer="r.lstm"), shape=(1, 1, 12, 4))
    with pytest.raises(oc.RuleError, match=r"r\.lstm: this torch traces final states as 1x1x12x4"):
        recurrent(call)  # type: ignore[arg-type]


@pytest.mark.parametrize("states", few([False, True], 1))
def test_windows_run_by_blocks(states):
    assert never_wrong(OverWindows(nn.GRU, states), (1, 3, 4, 16)) == "HW"
