"""examples/kamisli: the order of channels, masks against what a block really reads, and numbers of weights."""

from __future__ import annotations

import doctest

import pytest
import torch
from shared.thorough import few
from torch import Tensor, nn

import overlapcalc as oc
from examples.kamisli import draw, start
from examples.kamisli.nets import PUBLISHED, SMALL, Analysis, Entropy, Nets, Shape, Synthesis, nets
from examples.lic import blocks
from examples.lic.blocks import blocks_to_channels, causal, channels_to_blocks
from examples.lic.exact import exact

FOUR = {(-1, -1), (-1, 0), (-1, 1), (0, -1)}
ELEVEN = {(-2, j) for j in range(-2, 3)} | {(-1, j) for j in range(-2, 2)} | {(0, -2), (0, -1)}
TINY = Shape(2, 8, 3, "3111")
TINY_WIDE = Shape(2, 8, 3, "3311")


def made(shape: Shape) -> Nets:
    torch.manual_seed(3)
    return Nets(*(net.double().eval() for net in nets(shape)))


@pytest.mark.parametrize("block", [1, 2, 4])
def test_channels_go_by_position_and_then_by_colour(block):
    x = torch.arange(2 * 3 * (2 * block) * (3 * block)).reshape(2, 3, 2 * block, 3 * block)
    y = blocks_to_channels(x, block)
    assert y.shape == (2, 3 * block**2, 2, 3)
    for v in range(block):
        for h in range(block):
            for c in range(3):
                assert torch.equal(y[:, (v * block + h) * 3 + c], x[:, c, v::block, h::block])
    assert torch.equal(channels_to_blocks(y, block), x)


def test_by_hand():
    """Two rows of two samples, red 1 to 4, green 10 to 40, blue 100 to 400."""
    red = torch.tensor([[1, 2], [3, 4]])
    found = blocks_to_channels(torch.stack([red, 10 * red, 100 * red])[None], 2)
    assert found.flatten().tolist() == [1, 10, 100, 2, 20, 200, 3, 30, 300, 4, 40, 400]


@pytest.mark.parametrize("module", [draw, blocks, start])
def test_examples_in_docstrings(module):
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


def reads(net: nn.Module, inputs: list[Tensor], which: int) -> set[tuple[int, int]]:
    """The blocks, from its own place, that change what the middle block becomes when they change."""
    rows, columns = inputs[which].shape[2:]
    middle = rows // 2, columns // 2
    with torch.no_grad():
        before = net(*inputs)[..., middle[0], middle[1]]
        found = set()
        for row in range(rows):
            for column in range(columns):
                changed = [x.clone() for x in inputs]
                changed[which][..., row, column] += 0.1
                if not torch.equal(net(*changed)[..., middle[0], middle[1]], before):
                    found.add((row - middle[0], column - middle[1]))
    return found


@pytest.mark.parametrize(("shape", "cone"), [(TINY, FOUR), (TINY_WIDE, ELEVEN)], ids=["3111", "3311"])
def test_a_block_reads_the_blocks_of_the_published_cones(shape, cone):
    analysis, synthesis, entropy = made(shape)
    torch.manual_seed(1)
    x, reconstruction = (torch.rand(1, shape.samples, 7, 7).double() - 0.5 for _ in range(2))
    y = torch.randn(1, shape.m, 7, 7).double()
    assert reads(entropy, [reconstruction], 0) == cone
    assert max(max(-i, abs(j)) for i, j in cone) == shape.reach
    for net, own in ((analysis, x), (synthesis, y)):
        assert reads(net, [own, reconstruction], 1) == FOUR
        assert reads(net, [own, reconstruction], 0) == {(0, 0)}


@pytest.mark.parametrize(("shape", "cone"), few([(TINY, FOUR), (TINY_WIDE, ELEVEN)], 1), ids=["3111", "3311"])
def test_cones_of_the_library_are_those_of_brute_force(shape, cone):
    found = oc.analyze(Entropy(shape).eval(), (1, shape.samples, 12, 12)).cone()
    assert set(found.taps) == cone
    assert found.exact
    assert set(found.blind) == ({(-1, 2)} if cone == ELEVEN else set())
    analysis, size = Analysis(shape).eval(), (1, shape.samples, 12, 12)
    pairs = oc.analyze(analysis, (size, size))
    assert set(pairs.cone(input="reconstruction").taps) == FOUR
    assert set(pairs.cone(input="block").taps) == {(0, 0)}


def test_masks_of_both_types():
    for own in (False, True):
        taps = causal(1, 1, 3, own=own).mask[0, 0]
        assert taps.tolist() == [[1, 1, 1], [1, float(own), 0], [0, 0, 0]]
    five = causal(1, 1, 5, own=True).mask[0, 0]
    assert five.sum() == 13
    assert five.flatten()[:13].all()


def test_a_mask_of_another_type_is_refused_when_it_is_loaded():
    with pytest.raises(ValueError, match="masks other taps than a causal mask of type A"):
        causal(2, 3, 3, own=False).load_state_dict(causal(2, 3, 3, own=True).state_dict())


@pytest.mark.parametrize("net", [Analysis, Synthesis, Entropy])
def test_nets_are_traced(net):
    inputs = {
        Analysis: [torch.rand(1, 12, 4, 5), torch.rand(1, 12, 4, 5)],
        Synthesis: [torch.rand(1, 3, 4, 5), torch.rand(1, 12, 4, 5)],
        Entropy: [torch.rand(1, 12, 4, 5)],
    }[net]
    own = net(TINY_WIDE).eval()
    traced = torch.export.export(own, tuple(inputs)).module()
    assert torch.equal(traced(*inputs), own(*inputs))


def live(shape: Shape) -> int:
    """Weights that are not masked, and biases, by the paper's table."""
    s, n, m = shape.samples, shape.n, shape.m
    gdn = sum(c * c + c for c in (n, 7 * n // 8, 6 * n // 8))
    middle = n * (7 * n // 8) + 7 * n // 8 + (7 * n // 8) * (6 * n // 8) + 6 * n // 8 + gdn
    first = 4 * s * n + n
    analysis = s * n + n + first + middle + (6 * n // 8) * m + m
    synthesis = m * n + n + first + middle + (6 * n // 8) * s + s
    a, b = 12 * n // 8, 10 * n // 8
    second = (5 if shape.kernels == "3311" else 1) * a * b + b
    return analysis + synthesis + 4 * s * a + a + second + b * n + n + n * 2 * m + 2 * m


@pytest.mark.parametrize("name", [*PUBLISHED, "small"])
def test_numbers_of_weights(name):
    shape = SMALL if name == "small" else PUBLISHED[name]
    with torch.device("meta"):
        own = nets(shape)
    found = sum(p.numel() for net in own for p in net.parameters())
    closed = 5 * shape.samples * (shape.n + shape.n + 12 * shape.n // 8)
    if shape.kernels == "3311":
        closed += 4 * (12 * shape.n // 8) * (10 * shape.n // 8)
    assert found - closed == live(shape)
    if name == "small":
        assert live(shape) == 409_416


@pytest.mark.parametrize(
    "values", [(0, 8, 3, "3111"), (8, 12, 3, "3111"), (8, 8, 0, "3111"), (8, 8, 3, "3131"), (8, 8, 3, "31")]
)
def test_shapes_that_are_none(values):
    with pytest.raises(ValueError, match=r"expected kernels|must be at least 1"):
        Shape(*values)


def test_exact_forms_are_close_to_the_nets():
    own = made(TINY_WIDE)
    torch.manual_seed(1)
    x, reconstruction = (torch.rand(1, 12, 5, 6).double() - 0.5 for _ in range(2))
    y = torch.randn(1, 3, 5, 6).double()
    for net, inputs in zip(own, ((x, reconstruction), (y, reconstruction), (reconstruction,)), strict=True):
        with torch.no_grad():
            assert (exact(net)(*inputs) - net(*inputs)).abs().max() < 1e-3
