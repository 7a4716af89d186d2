"""What the papers' transforms need, by brute force, beside what the papers say; patches stitched; the seam of JPEG AI."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from shared.codecs import PUBLISHED, SMALL, TRUTHS, of_cps
from shared.nets import healthy
from shared.oracle import Dependency
from shared.thorough import few
from torch import nn

import overlapcalc as oc
from examples.cps.pops import patches, stitch
from examples.jpegai import nets as jpegai
from examples.jpegai.seam import seam
from examples.kim2026 import nets
from examples.kim2026.chains import CHAINS
from examples.lic.recurrences import conv, kim, pops, shuffle, tconv

IDS = [f"{who} {transform}" for who, transform, *_ in TRUTHS]


@pytest.mark.parametrize(
    ("who", "transform", "build", "channels", "size", "context", "field", "scale"), few(TRUTHS, 9), ids=IDS
)
def test_contexts(who, transform, build, channels, size, context, field, scale):
    """As written above; and an interior block depends on exactly that, by running the net."""
    net = healthy(build(), 0)
    other = 64 if scale > 1 else 4
    x = torch.rand(1, channels, size, other, dtype=torch.float64) + 0.1
    w = oc.analyze(net, x)["H"]
    assert (tuple(w.context), w.receptive_field, w.scale, w.exact) == (context, field, scale, True)
    truth = Dependency(net, x[..., : w.step * (2 if who == "CPS" else 1)], 2)
    u = -(-w.context.before // w.step)
    assert (u + 1) * w.step + w.context.after <= size
    assert truth.hull(u * w.out_step, (u + 1) * w.out_step) == (
        u * w.step - w.context.before,
        (u + 1) * w.step + w.context.after,
    )


ALL_CHAINS = {
    "Minnen": CHAINS["MeanScaleHyperprior"],
    "Cheng": CHAINS["Cheng2020AnchorCheckerboard"],
    "ELIC": CHAINS["Elic2022Official"],
    "JPEG AI": jpegai.CHAINS,
}

# ---- the published recurrences --------------------------------------------------------------------------------------


def test_recurrences_give_the_published_numbers():
    for (name, transform), overlap in PUBLISHED.items():
        assert kim(CHAINS[name][transform]) == overlap
    assert (kim(jpegai.CHAINS["g_a"]), kim(jpegai.CHAINS["g_s"])) == ((29, 14), (4, 4))
    with pytest.raises(ValueError, match="down, or up, not both"):
        kim(conv(3, 2) + tconv(5))


WITH_CHAINS = [
    (f"{who} {transform}", ALL_CHAINS[who][transform], build, context, field, scale)
    for who, transform, build, _, _, context, field, scale in TRUTHS
    if who in ALL_CHAINS
]


@pytest.mark.parametrize(
    ("name", "chain", "build", "context", "field", "scale"), WITH_CHAINS, ids=lambda v: str(v)[:12]
)
def test_ours_is_never_larger_and_smaller_for_transposed_convolutions(name, chain, build, context, field, scale):
    """Against the context that test_contexts holds against running."""
    theirs = kim(chain)
    assert context[0] <= theirs.before
    assert context[1] <= theirs.after
    transposed = any(layer.kind == "tconv" and layer.stride > 1 for layer in chain)
    assert (context[0] < theirs.before and context[1] < theirs.after) == transposed


@pytest.mark.parametrize(
    ("name", "chain", "build", "context", "field", "scale"), WITH_CHAINS, ids=lambda v: str(v)[:12]
)
def test_chains_are_those_of_the_nets(name, chain, build, context, field, scale):
    """A layer that is forgotten shows in the scale, or in the field: kernels add up at their scale."""
    reach, step = 1, Fraction(1)
    for layer in chain:
        reach += (layer.kernel - 1) * step if layer.kind == "conv" else 0
        step = step * layer.stride if layer.kind == "conv" else step / layer.stride
    assert step == scale
    if scale > 1:
        assert (reach, reach) == field
    else:
        spatial = (nn.Conv2d, nn.ConvTranspose2d)
        in_net = [m for path, m in build().named_modules() if isinstance(m, spatial) and m.kernel_size[0] > 1
                  and not any(part in path for part in ("upsample", "conv_b"))]  # fmt: skip
        assert [(m.kernel_size[0], m.stride[0]) for m in in_net] == [
            (layer.kernel, layer.stride) for layer in chain if layer.kernel > 1
        ]


@pytest.mark.parametrize(("kernel", "padding", "more"), [(5, 2, 1), (4, 1, 0), (3, 1, 1), (2, 0, 0)])
def test_one_transposed_convolution(kernel, padding, more):
    """Of stride 2: the recurrence against brute force, for which no smaller overlap exists."""
    net = healthy(nn.ConvTranspose2d(1, 1, kernel, 2, padding, output_padding=more), 0)
    truth = Dependency(net, torch.rand(1, 1, 12, 3, dtype=torch.float64), 2)
    hull = truth.hull(10, 12)
    assert hull is not None
    exact, theirs = (5 - hull[0], hull[1] - 6), kim(tconv(kernel))
    assert exact[0] <= theirs.before
    assert exact[1] <= theirs.after
    assert tuple(oc.analyze(net, (1, 1, 12, 12))["H"].context) == exact


def test_pixel_shuffle_in_a_chain():
    """One sample of the input is two of the output, of which the convolution behind takes one."""
    assert kim(shuffle() + conv(3)) == (1, 1)
    assert kim(shuffle() + 2 * conv(3)) == (1, 1)
    assert kim(shuffle() + 3 * conv(3)) == (2, 2)


# ---- context models -------------------------------------------------------------------------------------------------


def test_context_models():
    """A checkerboard of 5x5 reaches 2 latents; ELIC's nets over channels, three convolutions of 5x5, reach 6."""
    groups = nets.Elic2022Official(**SMALL["Elic2022Official"]).parts.groups
    for group in groups:
        board = oc.analyze(group.context_prediction, (1, group.channels, 16, 16))["W"]
        assert (tuple(board.context), board.exact) == ((2, 2), True)
        channels = group.entropy_parameters[0].in_channels
        assert tuple(oc.analyze(group.entropy_parameters, (1, channels, 4, 4))["W"].context) == (0, 0)
    over = groups[1].channel_context
    assert tuple(oc.analyze(over, (1, 2, 32, 32))["W"].context) == (6, 6)
    healthy(groups[0].context_prediction, 0)
    truth = Dependency(groups[0].context_prediction, torch.rand(1, 2, 12, 5, dtype=torch.float64), 2, zero_taps=True)
    assert truth.hull(5, 6) == (3, 8)


# ---- CPS ------------------------------------------------------------------------------------------------------------


def test_pops_rule():
    w = oc.analyze(of_cps("g_a"), (1, 3, 256, 256))["W"]
    assert (w.receptive_field, w.scale, w.context.total) == ((72, 72), 16, 56)
    assert pops(72, 16) == 64
    assert pops(64, 16) == 48
    assert w.tile.total == 64  # what the unmodified encoder must be fed: the exact 56, on the grid


@pytest.mark.parametrize(
    ("transform", "shape", "patch", "overlap", "scale"),
    [("g_a", (1, 3, 256, 304), 144, 64, 16), ("g_s", (1, 4, 16, 19), 9, 4, Fraction(1, 16))],
)
def test_stitched_patches_are_the_whole(transform, shape, patch, overlap, scale):
    net = healthy(of_cps(transform), 1)
    x = torch.rand(shape, dtype=torch.float64)
    with torch.no_grad():
        whole = net(x)
        stitched = stitch(net, x, patch=patch, overlap=overlap, scale=scale)
        less = stitch(net, x, patch=patch, overlap=overlap // 2, scale=scale)
    assert stitched.shape == whole.shape
    assert (stitched - whole).abs().max() <= 1e-12 * whole.abs().max()
    assert (less - whole).abs().max() > 1e-6 * whole.abs().max()


def test_28_samples_on_each_side_are_needed_and_enough():
    """Of the exact 56, one sample less changes the latents."""
    net = healthy(of_cps("g_a"), 2)
    x = torch.rand(1, 3, 112, 112, dtype=torch.float64)
    with torch.no_grad():
        whole = net(x)[..., 2:5, 2:5]
        for sides, same in ((28, True), (27, False)):
            cut = torch.full_like(x, float("nan"))
            inside = slice(32 - sides, 80 + sides)
            cut[..., inside, inside] = x[..., inside, inside]
            assert torch.equal(net(cut)[..., 2:5, 2:5], whole) == same


def test_patches():
    got = patches(304, 144, 64, Fraction(16))
    assert [(p.start, p.stop, p.first, p.last) for p in got] == [(0, 144, 0, 7), (80, 224, 7, 12), (160, 304, 12, 19)]
    assert [(p.start, p.first, p.last) for p in patches(144, 144, 64, Fraction(16))] == [(0, 0, 9)]
    for arguments, why in (((304, 112, 64), "at least twice"), ((128, 144, 64), "at most the image"),
                           ((304, 144, 48), "whole samples"), ((300, 144, 64), "whole samples")):  # fmt: skip
        with pytest.raises(ValueError, match=why):
            patches(*arguments, Fraction(16))


# ---- JPEG AI --------------------------------------------------------------------------------------------------------


def test_the_standard_overlap_leaves_a_seam():
    assert seam(overlap=2) > 1e-5
    assert seam(overlap=3) < 1e-14
