"""The closed loop: a block is coded with the reconstruction of the blocks before it, then joins it.

    scale, mean = n(reconstruction)
    symbols     = round(t_a(picture, reconstruction) - mean)
    block       = clamp(t_s(symbols + mean, reconstruction), -0.5, 0.5)

Both sides run this loop. What differs is where symbols come from: the encoder rounds and writes them, the decoder reads
them. All three nets read earlier blocks only (nets.py), so whole nets on the finished reconstruction (`open_loop`) give
it again, and every symbol: a fixed point, bit for bit where the nets are exact ones.

`overlapcalc.Loop` finds out which blocks do not need one another, and runs the nets on all of these at once. At the
border every layer reads zeros, as in the whole net. The published inference code pads the picture once instead, so its
results differ in the first row and in the first and last columns for kernels 3311.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

import overlapcalc as oc

from .nets import Nets, Shape

SCALES, MEANS, BLOCKS, LATENTS = "output0", "output1", "output2", "output3"


class Symbols(Protocol):
    """Codes the symbols of some blocks."""

    def __call__(self, distances: Tensor | None, scales: Tensor) -> Tensor:
        """The symbols that both sides take, as whole numbers of the shape of `scales`, blocks first.

        distances: of the latents from their means; None in the decoder.
        """
        ...


class Decoder(nn.Module):
    """What the decoder runs: n and t_s."""

    def __init__(self, nets: Nets) -> None:
        super().__init__()
        self.entropy, self.synthesis = nets.entropy, nets.synthesis

    def forward(self, reconstruction: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scales, means = self.entropy(reconstruction).chunk(2, 1)
        return scales, means, self.synthesis(y, reconstruction)


class Encoder(nn.Module):
    """What the encoder runs: t_a beside that, on the picture."""

    def __init__(self, nets: Nets) -> None:
        super().__init__()
        self.decoder, self.analysis = Decoder(nets), nets.analysis

    def forward(self, reconstruction: Tensor, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return *self.decoder(reconstruction, y), self.analysis(x, reconstruction)


class ClosedLoop:
    """The loop of one side for pictures of one size. size: rows and columns of blocks.

    For other pictures of the size it may run again.
    """

    def __init__(self, nets: Nets, shape: Shape, size: tuple[int, int], *, encodes: bool) -> None:
        self.encodes = encodes
        made: nn.Module = Encoder(nets) if encodes else Decoder(nets)
        picture, latents = (1, shape.samples, *size), (1, shape.m, *size)
        shapes = [picture, latents, picture] if encodes else [picture, latents]
        taken = (SCALES, MEANS, LATENTS) if encodes else (SCALES, MEANS)
        stages = [
            oc.Stage(taken, self._latents, feeds="y"),
            oc.Stage((BLOCKS,), lambda cells: clamped(cells[BLOCKS]), feeds="reconstruction"),
        ]
        self.loop = oc.Loop(made.eval(), stages, *(torch.zeros(s, dtype=torch.float64) for s in shapes))
        self._symbols: Symbols | None = None

    def __call__(self, x: Tensor | None, symbols: Symbols, order: str) -> Tensor:
        """The reconstruction, (1, samples, rows, columns). x: the picture as channels; None in the decoder. order:
        "wavefront" or "raster"."""
        assert (x is not None) == self.encodes
        self._symbols = symbols
        try:
            return self.loop.run(*(() if x is None else (x,)), order=order)["reconstruction"]
        finally:
            self._symbols = None

    def _latents(self, cells: oc.Cells) -> Tensor:
        assert self._symbols is not None
        means = cells[MEANS]
        distances = cells[LATENTS] - means if self.encodes else None
        return self._symbols(distances, cells[SCALES]) + means


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
