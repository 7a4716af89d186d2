"""The examples that take the whole image into account: by passes as by the whole, and what is said of them."""

from __future__ import annotations

import pytest
import torch
from shared.thorough import few
from torch import nn

import overlapcalc as oc
from examples.nafnet import NAFNet
from examples.restormer import Restormer
from examples.se_unet import SEUNet
from examples.vae_decoder import Decoder, PixelAttention
from overlapcalc.io.spec import load

NETS = {
    "vae_decoder": (lambda: Decoder(4, 8, blocks=1), (1, 4, 4, 5), ("group_norm", "scaled_dot_product_attention")),
    "nafnet": (lambda: NAFNet(4, (1,), 1, (1,)), (1, 3, 9, 6), ("adaptive_avg_pool2d",)),
    "restormer": (lambda: Restormer(4, (1, 2)), (1, 3, 8, 6), ("linalg_vector_norm", "matmul")),
    "se_unet": (lambda: SEUNet(4), (1, 3, 20, 12), ("mean",)),
}
"""Small, the shape of an input, and operators that look at the whole image."""


@pytest.fixture(params=few(NETS, ("vae_decoder",)))
def subject(request: pytest.FixtureRequest) -> tuple[nn.Module, torch.Tensor, tuple[str, ...]]:
    torch.manual_seed(0)
    make, shape, ops = NETS[request.param]
    return make().double().eval(), torch.rand(shape, dtype=torch.float64), ops


def test_an_example_by_passes_is_the_whole(subject):
    net, x, _ = subject
    with torch.no_grad():
        whole = net(x)
    found = oc.run(net, x, schedule="passes", block=4)
    assert (found - whole).abs().max() <= 1e-11 * whole.abs().max()
    changed = x.clone()
    changed[:, :, -1] += 1
    with torch.no_grad():
        other = net(changed)
    assert (other - whole)[:, :, 0].abs().max() > 1e-9 * whole.abs().max()  # its first row depends on the last one


def test_an_example_names_what_looks_at_the_whole_image(subject):
    net, x, ops = subject
    analysis = oc.analyze(net, x)
    assert not analysis.blocking_free
    assert {f"aten::{op}" for op in ops} <= {obstacle.op for obstacle in analysis.obstacles}


def test_the_attention_of_the_decoder_makes_no_square_matrix():
    """36 x 36 pixels look at one another, and no pass takes half of a matrix of pixels by pixels."""
    plan = oc.plan(PixelAttention(4), (1, 4, 36, 36), schedule="passes", block=1, stored=True)
    assert plan.memory is not None
    assert plan.memory.activations < 36**4 * 4 / 2


def test_nafnet_keeps_sizes_that_are_no_multiples_and_restormer_needs_them():
    assert NAFNet(4, (1, 1), 1, (1, 1)).eval()(torch.rand(1, 3, 21, 18)).shape == (1, 3, 21, 18)
    with pytest.raises(RuntimeError):
        Restormer(4, (1, 2)).eval()(torch.rand(1, 3, 21, 18))


@pytest.mark.parametrize("spec", ["vae_decoder.py:Decoder", "nafnet.py:NAFNet", "restormer.py:Restormer",
                                  "se_unet.py:SEUNet"])  # fmt: skip
def test_the_shell_finds_them(spec):
    assert isinstance(load(f"examples/{spec}", {}), nn.Module)
