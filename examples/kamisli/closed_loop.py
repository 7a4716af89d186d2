"""The closed loop: a block is coded with the reconstruction of the blocks before it, then joins it.

    scale, mean = n(reconstruction)
    symbols     = round(t_a(picture, reconstruction) - mean)
    block       = clamp(t_s(symbols + mean, reconstruction), -0.5, 0.5)

Both sides run this loop. What differs is where symbols come from: the encoder rounds and writes them, the decoder reads
them. All three nets read earlier blocks only (nets.py), so whole nets on the finished reconstruction (`open_loop`) give
it again, and every symbol: a fixed point, bit for bit where the nets are exact ones.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from .nets import Nets, Shape


class Symbols(Protocol):
    """Codes the symbols of some blocks."""

    def __call__(self, distances: Tensor | None, scales: Tensor) -> Tensor:
        """The symbols that both sides take, as whole numbers of the shape of `scales`, (blocks, m, 1, 1).

        distances: of the latents from their means; None in the decoder.
        """
        ...


class Order(Protocol):
    """A way through the blocks of a picture."""

    def __call__(self, nets: Nets, shape: Shape, size: tuple[int, int], x: Tensor | None, symbols: Symbols) -> Tensor:
        """The reconstruction, of shape (1, samples, *size).

        size: rows and columns of blocks. x: the picture as channels, of the same shape; None in the decoder.
        """
        ...


def raster(nets: Nets, shape: Shape, size: tuple[int, int], x: Tensor | None, symbols: Symbols) -> Tensor:
    """Row by row, each from left to right, a block at a time.

    Nets run on what lies around the block, cut at the border of the picture: beyond it every layer reads zeros, as in
    the whole net. The published inference code pads the picture once instead, so its results differ in the first row
    and in the first and last columns for kernels 3311.
    """
    rows, columns = size
    reconstruction = torch.zeros(1, shape.samples, rows, columns, dtype=torch.float64)
    for row in range(rows):
        for column in range(columns):
            around = _Around.of(row, column, columns, shape.reach)
            block = _block(nets, around, None if x is None else around.cut(x), around.cut(reconstruction), symbols)
            reconstruction[:, :, row, column] = block[..., 0, 0]
    return reconstruction


class _Around(NamedTuple):
    """The blocks that nets may read around one: rows [top, row], columns [left, right)."""

    row: int
    column: int
    top: int
    left: int
    right: int

    @classmethod
    def of(cls, row: int, column: int, columns: int, reach: int) -> _Around:
        return cls(row, column, max(0, row - reach), max(0, column - reach), min(columns, column + reach + 1))

    def cut(self, whole: Tensor) -> Tensor:
        return whole[:, :, self.top : self.row + 1, self.left : self.right]

    def own(self, cut: Tensor) -> Tensor:
        """The block itself of what was cut."""
        column = self.column - self.left
        return cut[:, :, -1:, column : column + 1]


def _block(nets: Nets, around: _Around, x: Tensor | None, reconstruction: Tensor, symbols: Symbols) -> Tensor:
    with torch.no_grad():
        scale, mean = around.own(nets.entropy(reconstruction)).chunk(2, 1)
        distances = None if x is None else around.own(nets.analysis(x, reconstruction)) - mean
        y = symbols(distances, scale) + mean
        spread = y.expand(-1, -1, *reconstruction.shape[2:])  # t_s reads latents at the block alone
        return clamped(around.own(nets.synthesis(spread, reconstruction)))


def clamped(block: Tensor) -> Tensor:
    return torch.clamp(block, -0.5, 0.5)


class Opened(NamedTuple):
    """What whole nets make of a picture and a reconstruction of it."""

    reconstruction: Tensor
    symbols: Tensor
    scales: Tensor


def open_loop(nets: Nets, x: Tensor, reconstruction: Tensor) -> Opened:
    """One pass of the whole nets, all blocks at once, each with its neighbours in `reconstruction`."""
    with torch.no_grad():
        scales, means = nets.entropy(reconstruction).chunk(2, 1)
        symbols = torch.round(nets.analysis(x, reconstruction) - means)
        return Opened(clamped(nets.synthesis(symbols + means, reconstruction)), symbols, scales)
