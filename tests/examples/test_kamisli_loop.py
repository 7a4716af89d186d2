"""The closed loop of examples/kamisli, and its fixed point: whole nets on the finished reconstruction give it again."""

from __future__ import annotations

import functools

import pytest
import torch
from shared.thorough import few
from torch import Tensor, nn

import overlapcalc as oc
from examples.kamisli.closed_loop import ClosedLoop, Symbols, clamped, open_loop
from examples.kamisli.nets import Nets, Shape, nets
from examples.lic.exact import OnlyExact, exact
from examples.lic.masked import MaskedConv2d

pytestmark = pytest.mark.usefixtures("traced_once")

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


ORDERS = ("wavefront", "raster")


def looped(own: Nets, kernels: str, x: Tensor | None, symbols: Symbols, order: str) -> Tensor:
    return ClosedLoop(own, SHAPES[kernels], SIZE, encodes=x is not None)(x, symbols, order)


def one_by_one(own: Nets, kernels: str, x: Tensor, reach: int | None = None) -> Tensor:
    """The plainest way: row by row, block by block, the nets on what lies up to `reach` blocks around, cut at the
    border of the picture."""
    rows, columns = SIZE
    reach = SHAPES[kernels].reach if reach is None else reach
    found = torch.zeros_like(x)
    with torch.no_grad():
        for row in range(rows):
            for column in range(columns):
                top, left, right = max(0, row - reach), max(0, column - reach), min(columns, column + reach + 1)
                around, here = (
                    found[:, :, top : row + 1, left:right],
                    (..., slice(-1, None), slice(column - left, column - left + 1)),
                )
                _, mean = own.entropy(around)[here].chunk(2, 1)
                y = own.analysis(x[:, :, top : row + 1, left:right], around)[here]
                y = torch.round(y - mean) + mean
                spread = y.expand(-1, -1, *around.shape[2:])  # t_s reads latents at the block alone
                found[:, :, row : row + 1, column : column + 1] = clamped(own.synthesis(spread, around)[here])
    return found


class Kept:
    """Rounds, and remembers what it gave, block by block."""

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
def coded(kernels: str, order: str = "raster") -> tuple[Tensor, list[Tensor]]:
    """The reconstruction, and the symbols of every step."""
    symbols = Kept()
    return looped(made(kernels), kernels, picture(kernels), symbols, order), symbols.given


def in_places(given: list[Tensor]) -> Tensor:
    """Symbols in raster order, as (1, m, rows, columns)."""
    return torch.cat(given).flatten(1).T.reshape(1, -1, *SIZE)


@pytest.mark.parametrize("order", few(ORDERS, 1))
@pytest.mark.parametrize("kernels", SHAPES)
def test_the_decoder_gives_what_the_encoder_gave(kernels, order):
    reconstruction, symbols = coded(kernels, order)
    known = Known(symbols)
    assert torch.equal(looped(made(kernels), kernels, None, known, order), reconstruction)
    assert not known.symbols


@pytest.mark.parametrize("kernels", few(SHAPES, 1))
def test_every_order_gives_what_one_block_after_the_other_gives(kernels):
    expected = one_by_one(made(kernels), kernels, picture(kernels))
    for order in ORDERS:
        assert torch.equal(coded(kernels, order)[0], expected)
    assert len(coded(kernels, "wavefront")[1]) == 2 * (SIZE[0] - 1) + SIZE[1]
    assert len(coded(kernels, "raster")[1]) == SIZE[0] * SIZE[1]
    less = one_by_one(made(kernels), kernels, picture(kernels), SHAPES[kernels].reach - 1)
    assert not torch.equal(less, expected)


@pytest.mark.parametrize("kernels", few(SHAPES, 1))
def test_the_fixed_point(kernels):
    """It is no trivial one: symbols differ, blocks are not all clamped, and another reconstruction gives another."""
    reconstruction, symbols = coded(kernels)[0], in_places(coded(kernels)[1])
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


def test_one_tap_more_is_refused():
    """The control: the tap to the right is opened, in the first layer of each net in turn."""
    for i in range(3):
        own = floating("3111")
        layer = next(m for m in own[i].modules() if isinstance(m, MaskedConv2d))
        with torch.no_grad():
            layer.mask[..., 1, 2] = 1
            layer.weight[..., 1, 2] = 0.5
        opened = Nets(*(exact(net) for net in own))
        with pytest.raises(oc.InputError, match=r"cells wait for each other, .* reads reconstruction at \(0, 1\)"):
            looped(opened, "3111", picture("3111"), Kept(), "wavefront")


@pytest.mark.parametrize("kernels", few(SHAPES, 1))
def test_the_loop_is_proved(kernels):
    own = ClosedLoop(made(kernels), SHAPES[kernels], SIZE, encodes=False)
    found = oc.verify(own.loop)
    assert [(proof.name, proof.status) for proof in found.proofs] == [
        ("order", "proved"),
        ("fixed point", "proved"),
        ("values", "proved"),
    ]
    assert found.steps == 2 * (SIZE[0] - 1) + SIZE[1]


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
