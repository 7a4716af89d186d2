"""Recurrent layers are traced at once: with the shapes that they really give."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves

import overlapcalc as oc
from overlapcalc.trace.recurrent_shapes import LAYERS, at_once

KINDS = [
    (kind, {"num_layers": layers, "bidirectional": both, "batch_first": first})
    for kind, layers, both, first in itertools.product((nn.LSTM, nn.GRU, nn.RNN), (1, 2), (False, True), (False, True))
]
KINDS += [(nn.LSTM, {"proj_size": 2, "bidirectional": True}), (nn.RNN, {"nonlinearity": "relu"})]


@pytest.mark.parametrize(("kind", "how"), KINDS, ids=lambda value: getattr(value, "__name__", None))
def test_results_have_the_shapes_strides_and_types_of_a_run(kind, how):
    layer, x = kind(3, 5, **how).double().eval(), torch.randn(7, 4, 3, dtype=torch.float64)
    with torch.no_grad():
        real = tree_leaves(layer(x))
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad(), at_once():
        state = {name: mode.from_tensor(value) for name, value in layer.state_dict().items()}
        fake = tree_leaves(torch.func.functional_call(layer, state, (mode.from_tensor(x),)))
    for a, b in zip(real, fake, strict=True):
        assert (a.shape, a.stride(), a.dtype) == (b.shape, b.stride(), b.dtype)


def test_torch_is_left_as_it_was():
    tables = [dict(getattr(torch.ops.aten, name).input.py_kernels) for name in LAYERS]
    with pytest.raises(RuntimeError, match="while tracing"), at_once():
        raise RuntimeError("while tracing")
    assert tables == [dict(getattr(torch.ops.aten, name).input.py_kernels) for name in LAYERS]


def test_no_step_is_traced(monkeypatch):
    """A thousand steps of a layer, none of which is run on shapes."""

    def fails(*_, **__):
        raise AssertionError("a step was run")

    for name in ("lstm_cell", "gru_cell"):
        monkeypatch.setattr(torch._decomp.decompositions, name, fails)
    for kind in (nn.LSTM, nn.GRU):

        class Net(nn.Module):
            def __init__(self, kind=kind) -> None:
                super().__init__()
                self.layer = kind(3, 3)

            def forward(self, x):
                return self.layer(x.permute(2, 0, 1))[0].permute(1, 2, 0)

        assert oc.analyze(Net(), (1, 3, 1000)).runs["L"].how == "passes"
