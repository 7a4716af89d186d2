"""The four codecs of examples/kim2026: names, shapes, densities, and the order of decoding."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from shared.codecs import SMALL
from torch import nn

from examples.kim2026 import nets
from examples.lic.checkerboard import CheckerboardConv2d
from examples.lic.codec import Codec, Group, walk
from examples.lic.gdn import GDN, LowerBound
from examples.lic.priors import EntropyBottleneck, GaussianConditional


def written() -> dict[str, tuple[list[int], dict[str, tuple[int, ...]]]]:
    """Class -> its arguments, and shapes by name, as CompressAI printed them."""
    found: dict[str, tuple[list[int], dict[str, tuple[int, ...]]]] = {}
    for line in (Path(__file__).parent / "papers_names.txt").read_text().splitlines():
        if line.startswith("["):
            name, *arguments = line.strip("[]").split()
            shapes: dict[str, tuple[int, ...]] = {}
            found[name] = [int(a) for a in arguments], shapes
        elif not line.startswith("#"):
            key, shape = line.split()
            shapes[key] = tuple(int(n) for n in shape.split("x"))
    return found


def build(name: str) -> Codec:
    torch.manual_seed(1)
    codec = getattr(nets, name)(**SMALL[name])
    with torch.no_grad():
        for p in codec.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return codec.double().eval()


@pytest.mark.parametrize("name", SMALL)
def test_names_and_shapes_are_those_of_compressai(name):
    arguments, shapes = written()[name]
    with torch.device("meta"):
        codec = getattr(nets, name)(*arguments)
    assert {key: tuple(value.shape) for key, value in codec.state_dict().items()} == shapes
    assert len(shapes) > 90


@pytest.mark.parametrize("name", SMALL)
def test_what_is_estimated_is_what_is_decoded(name):
    """Symbols of an encoder that knows the means, decoded one by one without: the same latents, the same picture."""
    codec = build(name)
    parts = codec.parts
    x = torch.rand(1, 3, 128, 192, dtype=torch.float64)
    with torch.no_grad():
        y = parts.g_a(x)
        z = parts.h_a(y)
        median = parts.entropy_bottleneck.medians[:, :, 0, None]
        hyper = parts.h_s(torch.round(z - median) + median)
        split = y.split([g.channels for g in parts.groups], 1)
        encoded = walk(parts.groups, hyper, lambda i, mean: torch.round(split[i] - mean) + mean)
        symbols = torch.round(y - encoded.means).split([g.channels for g in parts.groups], 1)
        decoded = walk(parts.groups, hyper, lambda i, mean: symbols[i] + mean)
        estimate = codec(x)
    assert symbols[0].abs().max() > 0
    assert torch.equal(encoded.values, decoded.values)
    assert torch.equal(estimate.picture, parts.g_s(decoded.values))
    assert estimate.picture.shape == x.shape
    assert (estimate.y.shape, estimate.z.shape) == (y.shape, z.shape)
    width = encoded.scales.clamp(min=0.11)
    ends = [0.5 * torch.erfc(-(y_hat - encoded.means) / width / math.sqrt(2)) for y_hat in
            (encoded.values + 0.5, encoded.values - 0.5)]  # fmt: skip
    assert torch.allclose(estimate.y, (ends[0] - ends[1]).clamp(min=1e-9), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_is_trained(name):
    codec = build(name).train()
    estimate = codec(torch.rand(1, 3, 64, 64, dtype=torch.float64))
    bottleneck = codec.parts.entropy_bottleneck
    bits = -estimate.y.log2().sum() - estimate.z.log2().sum()
    (estimate.picture.sum() + bits + bottleneck.quantile_loss()).backward()
    assert [key for key, p in codec.named_parameters() if p.grad is None] == []


def test_positions_are_coded_from_what_was_coded_before():
    """The means of an anchor know no symbol of its group; those of another know the anchors around, of its group."""
    torch.manual_seed(2)
    group = Group(2, GaussianConditional(), None, CheckerboardConv2d(2, 4).double(), nn.Conv2d(8, 4, 1).double())
    hyper, symbols = torch.randn(1, 4, 8, 8, dtype=torch.float64), torch.zeros(1, 2, 8, 8, dtype=torch.float64)
    plain = walk([group], hyper, lambda i, mean: symbols + mean).means
    for row, column in ((3, 3), (3, 4)):
        changed = symbols.clone()
        changed[..., row, column] = 1
        found = walk([group], hyper, lambda i, mean, changed=changed: changed + mean).means
        moved = {tuple(p) for p in (plain != found).any(1)[0].nonzero().tolist()}
        around = {(r, c) for r in range(row - 2, row + 3) for c in range(column - 2, column + 3) if (r + c) % 2}
        assert moved == (around if (row, column) == (3, 3) else set())


def test_groups_of_channels_know_those_before():
    codec = build("Elic2022Official")
    hyper = torch.randn(1, 12, 8, 8, dtype=torch.float64)
    symbols = [torch.zeros(1, c, 8, 8, dtype=torch.float64) for c in (2, 4, 6)]
    plain = walk(codec.parts.groups, hyper, lambda i, mean: symbols[i] + mean).means
    symbols[1][..., 2, 3] = 1
    found = walk(codec.parts.groups, hyper, lambda i, mean: symbols[i] + mean).means
    moved = (plain != found).flatten(2).any(2)[0]
    assert moved.tolist() == [False] * 6 + [True] * 6


def test_another_mask_is_refused():
    mine, theirs = CheckerboardConv2d(2, 4), CheckerboardConv2d(2, 4)
    theirs.mask[:, :, 3:] = 0  # raster order
    with pytest.raises(ValueError, match="mask: the checkpoint masks other taps"):
        mine.load_state_dict(theirs.state_dict())
    mine.load_state_dict(CheckerboardConv2d(2, 4).state_dict())


def test_weights_under_the_mask_do_nothing():
    """CompressAI zeroes them, ours may hold anything there."""
    net, x = CheckerboardConv2d(2, 4), torch.randn(1, 2, 6, 6)
    before = net(x)
    with torch.no_grad():
        net.weight[net.mask == 0] = 7.0
    assert torch.equal(net(x), before)


def test_tables_of_any_size_and_older_names_load():
    """What a checkpoint holds after CompressAI's update(), and as CompressAI wrote it before ParameterList."""
    bottleneck = EntropyBottleneck(3)
    state = bottleneck.state_dict()
    for new, old in (("matrices.", "_matrix"), ("biases.", "_bias"), ("factors.", "_factor")):
        for key in [key for key in state if key.startswith(new)]:
            state[old + key[len(new) :]] = state.pop(key) + 1
    state["_quantized_cdf"] = torch.ones(3, 23, dtype=torch.int32)
    fresh = EntropyBottleneck(3)
    fresh.load_state_dict(state)
    assert torch.equal(fresh.matrices[2], bottleneck.matrices[2] + 1)
    assert torch.equal(fresh.factors[3], bottleneck.factors[3] + 1)
    assert fresh.state_dict()["_quantized_cdf"].shape == (3, 23)
    conditional = GaussianConditional()
    conditional.load_state_dict(conditional.state_dict() | {"scale_table": torch.arange(64.0)})
    assert conditional.state_dict()["scale_table"].shape == (64,)


def test_a_checkpoint_of_other_shapes_is_refused():
    with pytest.raises(RuntimeError, match="size mismatch"):
        nets.MeanScaleHyperprior(6, 8).load_state_dict(nets.MeanScaleHyperprior(8, 8).state_dict())
    with pytest.raises(ValueError, match="add up to M, 12"):
        nets.Elic2022Official(6, 12, groups=[2, 4])


# ---- densities ------------------------------------------------------------------------------------------------------


def test_likelihoods_of_integers_add_up_to_one():
    torch.manual_seed(3)
    bottleneck = EntropyBottleneck(2).double()
    with torch.no_grad():
        for p in bottleneck.parameters():
            p.add_(0.2 * torch.randn_like(p))
        values = torch.arange(-400.0, 401, dtype=torch.float64).expand(1, 2, 1, -1)
        mass = bottleneck.likelihood(values + 0.3)
        assert torch.allclose(mass.sum(-1), torch.ones(1, 2, 1, dtype=torch.float64), atol=1e-5)
        scales = torch.full_like(values, 3.0)
        normal = GaussianConditional().double().likelihood(values, scales, torch.full_like(values, 0.7))
    assert torch.allclose(normal.sum(-1), torch.ones(1, 2, 1, dtype=torch.float64), atol=1e-6)
    expected = 0.5 * (math.erf(0.8 / 3 / math.sqrt(2)) + math.erf(0.2 / 3 / math.sqrt(2)))
    assert normal[0, 0, 0, 401].item() == pytest.approx(expected, rel=1e-7)


def test_quantiles_go_where_the_density_has_its_tails():
    torch.manual_seed(4)
    bottleneck = EntropyBottleneck(1)
    optimizer = torch.optim.Adam([bottleneck.quantiles])
    for rate, steps in ((2.0, 300), (0.05, 100)):
        optimizer.param_groups[0]["lr"] = rate
        for _ in range(steps):
            optimizer.zero_grad()
            bottleneck.quantile_loss().backward()
            optimizer.step()
    assert [name for name, p in bottleneck.named_parameters() if p.grad is not None] == ["quantiles"]
    with torch.no_grad():
        logits = bottleneck.logits(bottleneck.quantiles)
    assert torch.allclose(logits, bottleneck.target, atol=1.0)
    assert abs(logits[0, 0, 1]) < 0.1


def test_gdn_by_its_formula():
    torch.manual_seed(5)
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    beta, gamma = torch.rand(3, dtype=torch.float64) + 0.5, torch.rand(3, 3, dtype=torch.float64)
    for inverse in (False, True):
        net = GDN(3, inverse=inverse).double()
        with torch.no_grad():
            net.beta.copy_(net.beta_reparam.stored(beta))
            net.gamma.copy_(net.gamma_reparam.stored(gamma))
        norm = torch.sqrt(beta[:, None, None] + torch.einsum("ij,njhw->nihw", gamma, x**2))
        assert torch.allclose(net(x), x * norm if inverse else x / norm, rtol=1e-9)


def test_below_its_bound_a_gradient_leads_back_only():
    bound, x = LowerBound(1.0), torch.tensor([0.5, 0.5, 2.0], requires_grad=True)
    y = bound(x)
    assert y.tolist() == [1.0, 1.0, 2.0]
    y.backward(torch.tensor([1.0, -1.0, 1.0]))
    assert x.grad.tolist() == [0.0, -1.0, 1.0]
