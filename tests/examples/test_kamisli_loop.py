"""The closed loop of examples/kamisli, and its fixed point: whole nets on the finished reconstruction give it again."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor, nn

from examples.kamisli.closed_loop import _Around, open_loop, raster
from examples.kamisli.nets import Nets, Shape, nets
from examples.lic.exact import OnlyExact, exact
from examples.lic.masked import MaskedConv2d

SHAPES = {"3111": Shape(2, 8, 3, "3111"), "3311": Shape(2, 8, 3, "3311")}
SIZE = (5, 6)


def floating(kernels: str) -> Nets:
    """Nets with random weights that read their neighbours, and latents of several steps."""
    torch.manual_seed(7)
    own = nets(SHAPES[kernels])
    with torch.no_grad():
        own.analysis.rest[-1].weight *= 20
        own.synthesis.own.weight *= 0.2
        own.synthesis.rest[-1].bias *= 0.2
        own.entropy[-1].weight *= 3
    return own


@functools.cache
def made(kernels: str) -> Nets:
    return Nets(*(exact(net) for net in floating(kernels)))


def picture(kernels: str) -> Tensor:
    torch.manual_seed(1)
    return torch.rand(1, SHAPES[kernels].samples, *SIZE).double() - 0.5


class Kept:
    """Rounds, and remembers what it gave."""

    def __init__(self) -> None:
        self.given: list[Tensor] = []

    def __call__(self, distances: Tensor | None, scales: Tensor) -> Tensor:
        assert distances is not None
        assert distances.shape == scales.shape
        self.given.append(torch.round(distances))
        return self.given[-1]


class Known:
    """Gives symbols back in the order in which they were taken."""

    def __init__(self, symbols: list[Tensor]) -> None:
        self.symbols = list(symbols)

    def __call__(self, distances: Tensor | None, scales: Tensor) -> Tensor:
        assert distances is None
        return self.symbols.pop(0)


@functools.cache
def coded(kernels: str) -> tuple[Tensor, Tensor]:
    """The reconstruction, and the symbols in the places of their blocks."""
    symbols = Kept()
    reconstruction = raster(made(kernels), SHAPES[kernels], SIZE, picture(kernels), symbols)
    return reconstruction, torch.cat(symbols.given, 2).reshape(1, -1, *SIZE)


@pytest.mark.parametrize("kernels", SHAPES)
def test_the_decoder_gives_what_the_encoder_gave(kernels):
    reconstruction, symbols = coded(kernels)
    known = Known(list(symbols.flatten(2).unsqueeze(-1).split(1, 2)))
    assert torch.equal(raster(made(kernels), SHAPES[kernels], SIZE, None, known), reconstruction)
    assert not known.symbols


@pytest.mark.parametrize("kernels", SHAPES)
def test_the_fixed_point(kernels):
    """It is no trivial one: symbols differ, blocks are not all clamped, and another reconstruction gives another."""
    reconstruction, symbols = coded(kernels)
    own, x = made(kernels), picture(kernels)
    with OnlyExact("open loop"):
        found = open_loop(own, x, reconstruction)
    assert torch.equal(found.reconstruction, reconstruction)
    assert torch.equal(found.symbols, symbols)
    assert all(len(channel.unique()) > 1 for channel in symbols[0])
    assert (reconstruction.abs() < 0.5).double().mean() > 0.5
    other = open_loop(own, x, 0.5 * reconstruction)
    assert not torch.equal(other.reconstruction, reconstruction)
    assert not torch.equal(other.symbols, symbols)


@pytest.mark.parametrize("kernels", SHAPES)
def test_one_tap_more_and_there_is_no_fixed_point(kernels):
    """The control: the tap to the right is opened, in the first layer of each net in turn."""
    for i in range(3):
        own = floating(kernels)
        layer = next(m for m in own[i].modules() if isinstance(m, MaskedConv2d))
        with torch.no_grad():
            layer.mask[..., 1, 2] = 1
            layer.weight[..., 1, 2] = 0.5
        opened = Nets(*(exact(net) for net in own))
        x, symbols = picture(kernels), Kept()
        reconstruction = raster(opened, SHAPES[kernels], SIZE, x, symbols)
        found = open_loop(opened, x, reconstruction)
        same = torch.equal(found.symbols, torch.cat(symbols.given, 2).reshape(found.symbols.shape))
        assert not (same and torch.equal(found.reconstruction, reconstruction))


@pytest.mark.parametrize("kernels", SHAPES)
def test_one_block_of_context_less_and_there_is_no_fixed_point(kernels, monkeypatch):
    """The control: nets that read `reach` blocks around, given one block fewer."""
    of = _Around.of
    monkeypatch.setattr(_Around, "of", lambda row, column, columns, reach: of(row, column, columns, reach - 1))
    symbols = Kept()
    reconstruction = raster(made(kernels), SHAPES[kernels], SIZE, picture(kernels), symbols)
    found = open_loop(made(kernels), picture(kernels), reconstruction)
    assert not torch.equal(found.reconstruction, reconstruction)


def test_padding_the_picture_once_is_another_net():
    """As the published inference code does for kernels 3311: hidden values beyond the border are then no zeros."""
    reconstruction, _ = coded("3311")
    entropy = made("3311").entropy
    wide = nn.functional.pad(reconstruction, (2, 2, 2, 2))
    with torch.no_grad():
        whole, once = entropy(reconstruction), entropy(wide)[..., 2:-2, 2:-2]
    differs = (whole != once).any(1)[0]
    assert differs[0].all()
    assert differs[:, 0].all()
    assert differs[:, -1].all()
    assert not differs[1:, 1:-1].any()
