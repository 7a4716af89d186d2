"""A picture to bytes and back: the closed loop, its symbols by a range coder, and a header.

The bytes are those of `examples.lic.bitstream` (size, fingerprint of the checkpoint, digest of the symbols, checksum).
Their payload here is

    order 1 | bytes of symbols 4 | symbols

Blocks are coded in the order that is named, each with its latents by their scales.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from examples.lic.bitstream import BitstreamError, Coded, digest, is_size, packed, unpacked
from examples.lic.blocks import blocks_to_channels, channels_to_blocks, open_taps
from examples.lic.densities import gaussian_tables, scale_table
from examples.lic.exact import ACTIVATIONS, EDITION, FINEST, SQUARES, OnlyExact, exact
from examples.lic.masked import MaskedConv2d
from examples.lic.pictures import Picture
from examples.lic.recent import recent
from examples.lic.symbols import MOST, SymbolReader, SymbolWriter, too_many
from examples.lic.tables import Integers, Tables
from overlapcalc import InputError

from .closed_loop import ClosedLoop, open_loop
from .nets import Nets, Shape

NAME = "kamisli"
ORDERS = {"raster": 0, "wavefront": 1}
"""Of blocks, with their numbers in bitstreams, which are never given to another order."""
WAVEFRONT = "wavefront"
_HEAD = struct.Struct("<BI")


@dataclass(frozen=True)
class Coding:
    """All that both sides must have in common. nets: exact ones. scales: of the tables, ascending."""

    shape: Shape
    nets: Nets
    scales: Tensor
    tables: Tables
    fingerprint: bytes
    _loops: dict[tuple[int, int, bool], ClosedLoop] = field(default_factory=dict, repr=False, compare=False)

    def loop(self, rows: int, columns: int, *, encodes: bool) -> ClosedLoop:
        """The closed loop of one side for pictures of so many blocks; the last few are kept."""
        key = rows, columns, encodes
        return recent(self._loops, key, lambda: ClosedLoop(self.nets, self.shape, (rows, columns), encodes=encodes))


def tables_of_scales() -> Tables:
    """One table of whole numbers for each of the 64 scales."""
    return gaussian_tables(scale_table())


def coding(shape: Shape, nets: Nets, tables: Tables) -> Coding:
    """What codes pictures by these weights. Raises InputError where a net has no exact form."""
    scales = scale_table().double()
    if len(tables.counts) != len(scales):
        raise InputError(f"{len(tables.counts)} tables; expected one for each of {len(scales)} scales")
    own = Nets(*(exact(net, called=called) for called, net in zip(Nets._fields, nets, strict=True)))
    noise = torch.from_numpy(np.random.default_rng(0).random((1, shape.samples, 2, 2)) - 0.5)
    with OnlyExact(NAME):
        open_loop(own, noise, noise)
    return Coding(shape, own, scales, tables, _fingerprint(shape, nets, tables))


def _fingerprint(shape: Shape, nets: Nets, tables: Tables) -> bytes:
    """8 bytes of all that decides what a bitstream means."""
    parts = [repr((shape, EDITION, ACTIVATIONS, SQUARES, FINEST)).encode()]
    for called, net in zip(Nets._fields, nets, strict=True):
        parts += [part for key, value in weights(net).items() for part in (f"{called}.{key}".encode(), _bytes(value))]
    return digest(*parts, *(numbers.astype("<i8").tobytes() for numbers in tables.flat()))


def weights(net: nn.Module) -> dict[str, Tensor]:
    """All that a net learned: of masked convolutions the open taps only, (outputs, inputs, taps)."""
    found = {}
    for key, value in net.named_parameters():
        layer = net.get_submodule(key.rpartition(".")[0])
        found[key] = value.detach()
        if isinstance(layer, MaskedConv2d) and key.endswith("weight"):
            found[key] = found[key].flatten(2)[:, :, : open_taps(layer)]
    return found


def _bytes(value: Tensor) -> bytes:
    return bytes(value.float().contiguous().numpy().astype("<f4").tobytes())


def encode(coding: Coding, picture: Picture, order: str = WAVEFRONT) -> bytes:
    """The picture, (height, width, 3) bytes, as a bitstream. Raises InputError."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise InputError(f"a picture of shape {picture.shape} and type {picture.dtype}; expected (H, W, 3) bytes")
    height, width = picture.shape[:2]
    if not is_size(height, width):
        raise InputError(f"a picture of {width}x{height}; expected at most 2^30 pixels: cut it")
    x = channels(picture, coding.shape.block)
    writing = _Writing(coding)
    coding.loop(x.shape[2], x.shape[3], encodes=True)(x, writing, order)
    symbols = writing.writer.bytes()
    payload = _HEAD.pack(ORDERS[order], len(symbols)) + symbols
    return packed(Coded(NAME, coding.fingerprint, height, width, digest(*writing.written), payload))


def decode(coding: Coding, data: bytes) -> Picture:
    """The picture of a bitstream that `encode` gave. Raises BitstreamError."""
    coded = unpacked(data)
    if coded.codec != NAME:
        raise BitstreamError(f"it was coded by {coded.codec!r}; this codec is {NAME!r}")
    if coded.fingerprint != coding.fingerprint:
        raise BitstreamError("it was coded with other weights; take the checkpoint that coded it")
    order, symbols = _order_and_symbols(coded.payload)
    rows, columns = (-(-n // coding.shape.block) for n in (coded.height, coded.width))
    least = min(float(coding.tables.bits(i).min()) for i in range(len(coding.tables.counts)))
    if too_many(rows * columns * coding.shape.m * least, len(symbols)):  # before memory is taken for them
        raise BitstreamError(f"{len(symbols)} bytes are too few for a picture of {coded.width}x{coded.height}")
    reading = _Reading(coding, symbols)
    y = coding.loop(rows, columns, encodes=False)(None, reading, order)
    reading.reader.finish()
    if digest(*reading.read) != coded.symbols:
        raise BitstreamError("the nets gave other probabilities here than where it was coded, so it cannot be decoded")
    return picture_of(y, coding.shape.block)[: coded.height, : coded.width]


def _order_and_symbols(payload: bytes) -> tuple[str, bytes]:
    if len(payload) < _HEAD.size:
        raise BitstreamError(f"a payload of {len(payload)} bytes; expected at least {_HEAD.size}")
    code, size = _HEAD.unpack_from(payload)
    order = next((name for name, own in ORDERS.items() if own == code), None)
    if order is None:
        raise BitstreamError(f"order {code} of blocks; this program knows {', '.join(ORDERS)}")
    symbols = payload[_HEAD.size :]
    if len(symbols) != size:
        raise BitstreamError(f"{len(symbols)} bytes of symbols; the header says {size}")
    return order, symbols


class _Writing:
    """The encoder's symbols."""

    def __init__(self, coding: Coding) -> None:
        self.coding, self.writer, self.written = coding, SymbolWriter(), list[bytes]()

    def __call__(self, distances: Tensor | None, scales: Tensor) -> Tensor:
        assert distances is not None
        if not bool(torch.isfinite(distances).all()):
            raise InputError(f"{NAME}: its nets give latents that are no numbers; its weights are damaged")
        symbols = torch.clamp(torch.round(distances), -MOST, MOST)
        numbers = symbols.flatten().numpy().astype(np.int64)
        self.writer.write(numbers, _indexes(self.coding, scales), self.coding.tables)
        self.written.append(numbers.astype("<i4").tobytes())
        return symbols


class _Reading:
    """The decoder's symbols."""

    def __init__(self, coding: Coding, data: bytes) -> None:
        self.coding, self.reader, self.read = coding, SymbolReader(data), list[bytes]()

    def __call__(self, distances: Tensor | None, scales: Tensor) -> Tensor:
        numbers = self.reader.read(_indexes(self.coding, scales), self.coding.tables)
        self.read.append(numbers.astype("<i4").tobytes())
        return torch.from_numpy(numbers).to(scales.dtype).reshape(scales.shape)


def _indexes(coding: Coding, scales: Tensor) -> Integers:
    """The table of each latent: of the smallest scale that is not below its own."""
    found: Integers = torch.bucketize(scales.flatten().contiguous(), coding.scales[:-1]).numpy()
    return found


def channels(picture: Picture, block: int) -> Tensor:
    """A picture as channels from -0.5 to 0.5, (1, samples, rows, columns) in float64; its last row and column are
    repeated up to a whole block."""
    height, width = picture.shape[:2]
    filled = np.pad(picture, ((0, -height % block), (0, -width % block), (0, 0)), mode="edge")
    x = torch.from_numpy(filled).permute(2, 0, 1)[None].double() / 255 - 0.5
    return blocks_to_channels(x, block)


def picture_of(reconstruction: Tensor, block: int) -> Picture:
    """The nearest samples of 8 bits."""
    x = torch.round((channels_to_blocks(reconstruction, block)[0] + 0.5) * 255)
    made: Picture = torch.clamp(x, 0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    return made
