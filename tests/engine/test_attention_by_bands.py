"""Attention over pixels in passes: keys and values whole, a few queries at a time."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from shared.thorough import crossed, few
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.engine.slab.call import SlabCall
from overlapcalc.ops.rules import attention

pytestmark = pytest.mark.usefixtures("traced_once")


class Attending(nn.Module):
    """Attention over all pixels, with the rest of a block around it."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.mixed, self.out = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.mixed(x).flatten(2).transpose(1, 2).unsqueeze(1).chunk(3, 3)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return x + self.out(y[:, 0].transpose(1, 2).reshape(x.shape))


def apart(model: nn.Module, x: Tensor, axis: str) -> float:
    with torch.no_grad():
        whole, parts = model(x), oc.run(model, x, schedule="passes", block=3, stream_axis=axis)
    return float((whole - parts).abs().max() / whole.abs().max())


@pytest.mark.parametrize(("axis", "causal", "scores"), crossed(["H", "W"], [False, True], [1 << 20, 300]))
def test_attention_by_bands_is_that_of_the_whole(monkeypatch, causal, axis, scores):
    monkeypatch.setattr(attention, "SCORES", scores)
    assert apart(Attending(causal).double().eval(), torch.randn(1, 2, 11, 7, dtype=torch.float64), axis) <= 1e-12


@pytest.mark.parametrize("axis", few(["H", "W"], 1))
def test_attention_by_bands_is_proved(axis):
    found = oc.verify(Attending(causal=True).eval(), (1, 2, 11, 7), schedule="passes", stream_axis=axis)
    assert {proof.name: proof.status for proof in found.proofs} == dict.fromkeys(
        ("cover", "dependency", "poisoned borders", "exact twin", "values"), "proved"
    )


def test_a_causal_mask_that_begins_anew_in_every_band_shows(monkeypatch):
    """As torch's own would, on a band of the queries."""
    monkeypatch.setattr(SlabCall, "positions", lambda self, dim: self.counted(self.shape[dim]))
    assert apart(Attending(causal=True).double().eval(), torch.randn(1, 2, 11, 7, dtype=torch.float64), "H") > 1e-3
