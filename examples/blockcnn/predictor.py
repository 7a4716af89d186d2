"""The predictor: what a block of 8x8 probably is, from the decoded blocks above and to the left.

One linear filter for each sample of a block, from the 64 samples of each of four neighbours in the same plane: Y has
filters of its own, Cb and Cr share theirs. At the border some neighbours lack, so blocks there have filters of their
own. All are exact forms (`examples/lic/exact.py`), so that predictions are the same numbers on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from examples.lic.blocks import causal
from examples.lic.exact import Grid, exact

from .remover import JPEG
from .residual import LEAST, MOST

SAMPLES = JPEG**2
PLACES = ("inside", "first row", "first column", "last column")
"""Kinds of blocks, by the neighbours that they have. The first row comes first where a block is of two kinds, and the
first column before the last. Nothing is known of the first block of all, which is predicted by constants."""
TAPS = ((-1, -1), (-1, 0), (-1, 1), (0, -1))
"""The neighbours, in the order of the weights of an open mask: rows and columns away."""
READ = {"inside": (0, 1, 2, 3), "first row": (3,), "first column": (1, 2), "last column": (0, 1, 3)}
"""The neighbours that a kind of block has, by their places in TAPS."""
WHOLE = Grid(0, 7)
"""What is read: whole numbers from -128 to 128."""


class Predictor(nn.Module):
    """Decoded samples, (1, 192, rows, columns), and kinds of blocks, as `places` gives them, to predictions.

    Predictions are whole numbers from -128 to 127. Beyond the border neighbours are 0, the middle grey.
    """

    def __init__(self) -> None:
        super().__init__()
        self.luma, self.chroma = (causal(SAMPLES, len(PLACES) * SAMPLES, 3, own=False) for _ in range(2))

    def forward(self, decoded: Tensor, place: Tensor) -> Tensor:
        y, cb, cr = decoded.chunk(3, 1)
        parts = (chosen(self.luma(y), place), chosen(self.chroma(cb), place), chosen(self.chroma(cr), place))
        return torch.clamp(torch.round(torch.cat(parts, 1)), LEAST, MOST)


def chosen(guesses: Tensor, place: Tensor) -> Tensor:
    """Of the guesses of all filters, that of the kind of each block. Adding zeros, it rounds nothing."""
    kinds = len(PLACES)
    pairs = zip(guesses.chunk(kinds, 1), place.chunk(kinds, 1), strict=True)
    first, *others = (guess * own for guess, own in pairs)
    for other in others:
        first = first + other
    return first


def places(rows: int, columns: int) -> Tensor:
    """1 for the kind of each block and 0 for the others, (1, kinds, rows, columns)."""
    kinds = torch.zeros(rows, columns, dtype=torch.int64)
    kinds[:, -1] = PLACES.index("last column")
    kinds[:, 0] = PLACES.index("first column")
    kinds[0] = PLACES.index("first row")
    return torch.cat([(kinds == i)[None, None] for i in range(len(PLACES))], 1).double()


def exact_form(net: Predictor) -> nn.Module:
    """What both sides run. Raises InputError for weights that have no exact form."""
    return exact(net, called="the predictor", activations=WHOLE)


@torch.no_grad()
def set_filters(net: Predictor, filters: Mapping[str, tuple[Tensor, Tensor]], *, luma: bool) -> None:
    """filters: of every kind of blocks, (4 * 64, 64) from neighbours in the order of TAPS, and 64 constants."""
    layer = net.luma if luma else net.chroma
    assert layer.bias is not None
    layer.weight.zero_()
    for i, (weight, constant) in enumerate(filters[place] for place in PLACES):
        own = slice(i * SAMPLES, (i + 1) * SAMPLES)
        taps = weight.reshape(len(TAPS), SAMPLES, SAMPLES).permute(2, 1, 0)
        layer.weight.flatten(2)[own, :, : len(TAPS)] = taps.float()
        layer.bias[own] = constant.float()


def filters_of(net: Predictor, *, luma: bool) -> dict[str, tuple[Tensor, Tensor]]:
    """The inverse of `set_filters`."""
    layer = net.luma if luma else net.chroma
    assert layer.bias is not None
    weights = layer.weight.detach().flatten(2)[:, :, : len(TAPS)].permute(2, 1, 0).reshape(-1, len(PLACES) * SAMPLES)
    parts = weights.chunk(len(PLACES), 1), layer.bias.detach().chunk(len(PLACES))
    return dict(zip(PLACES, zip(*parts, strict=True), strict=True))
