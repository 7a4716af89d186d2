"""Predictive coding: blocks from their decoded neighbours, and what is missing as a JPEG file.

    prediction = predictor(decoded), or 0 for a block that is sent as it is
    residual   = block - prediction, through JPEG
    block      = clamp(prediction + residual, -128, 127)

Both sides run this loop, on the planes of JPEG. What differs is where residuals come from: the encoder codes those of a
step, and has them decoded; the decoder takes them from the file. `overlapcalc.Loop` finds which blocks do not need one
another. The predictor on the finished picture, all blocks at once, gives every prediction again, bit for bit.

A block is sent as it is where its residual would not fit into -128 to 127: there are few, but cutting residuals leaves
large errors, which blocks after them are predicted from.

The bytes are those of `examples.lic.bitstream`. Their payload is

    bytes of the map 4 | map | JPEG file

with a bit for every block that is sent as it is, row by row, deflated; no bytes where there are none. Their digest of
symbols is that of the decoded samples, so a decoder whose libjpeg decodes otherwise says so.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import overlapcalc as oc
from examples.lic.bitstream import BitstreamError, Coded, digest, is_size, packed, unpacked
from examples.lic.exact import EDITION, OnlyExact
from examples.lic.pictures import Picture
from examples.lic.recent import recent
from overlapcalc import InputError

from .colour import picture, planes
from .jpeg import QUALITIES, Quality
from .predictor import PLACES, Predictor, exact_form, places
from .remover import JPEG
from .residual import LEAST, LONGEST, MOST, coded_apart, quality_in, read, to_channels, to_planes, written

NAME = "blockcnn"
ORDERS = ("wavefront", "raster")
"""Of blocks. The bytes are the same, and either order decodes them."""
_LENGTH = struct.Struct("<I")
PREDICTION, DECODED = "output", "decoded"


Decodes = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of the predictions of some blocks, (blocks, 192), and their rows and columns: what they are decoded to."""


class ClosedLoop:
    """The loop for pictures of one size, for either side. size: rows and columns of blocks."""

    def __init__(self, net: nn.Module, size: tuple[int, int]) -> None:
        shape = (1, 3 * JPEG**2, *size)
        self.place = places(*size)
        stage = oc.Stage((PREDICTION,), self._block, feeds=DECODED)
        self.loop = oc.Loop(net.eval(), [stage], torch.zeros(shape, dtype=torch.float64), self.place)
        self._decodes: Decodes | None = None

    def __call__(self, decodes: Decodes, order: str) -> Tensor:
        """The decoded samples, (1, 192, rows, columns)."""
        self._decodes = decodes
        try:
            return self.loop.run(self.place, order=order)[DECODED]
        finally:
            self._decodes = None

    def _block(self, cells: oc.Cells) -> Tensor:
        assert self._decodes is not None
        predicted = cells[PREDICTION]
        rows, columns = torch.tensor(cells.places).T
        return self._decodes(predicted.flatten(1), rows, columns).reshape(predicted.shape)


@dataclass(frozen=True)
class Predictive:
    """All that both sides must have in common. net: the exact form of a predictor."""

    net: nn.Module
    fingerprint: bytes
    _loops: dict[tuple[int, int], ClosedLoop] = field(default_factory=dict, repr=False, compare=False)

    def loop(self, rows: int, columns: int) -> ClosedLoop:
        """The closed loop for pictures of so many blocks; the last few are kept."""
        return recent(self._loops, (rows, columns), lambda: ClosedLoop(self.net, (rows, columns)))

    def predictions(self, decoded: Tensor) -> Tensor:
        """Of all blocks at once, each with its neighbours in `decoded`; both (1, 192, rows, columns)."""
        with torch.no_grad():
            found: Tensor = self.net(decoded, places(*decoded.shape[2:]))
        return found


def predictive(net: Predictor) -> Predictive:
    """What codes pictures by a predictor. Raises InputError for weights that have no exact form."""
    own = exact_form(net)
    noise = torch.from_numpy(np.random.default_rng(0).integers(-128, 128, (1, 3 * JPEG**2, 2, 3))).double()
    with OnlyExact("the predictor"), torch.no_grad():
        own(noise, places(2, 3))
    parts = [repr((EDITION, PLACES, LEAST, MOST)).encode()]
    for name, value in net.named_parameters():
        parts += [name.encode(), value.detach().float().contiguous().numpy().astype("<f4").tobytes()]
    return Predictive(own, digest(*parts))


# ---- the encoder ----------------------------------------------------------------------------------------------------


class Made(NamedTuple):
    """What the encoder's loop leaves, (1, 192, rows, columns) each. back: the residual as it is decoded.

    plain: which blocks are sent as they are, (rows, columns).
    """

    decoded: Tensor
    residual: Tensor
    back: Tensor
    plain: Tensor


def encode(own: Predictive, original: Picture, quality: int, order: str = ORDERS[0]) -> bytes:
    """The picture, (height, width, 3) bytes, as a bitstream. quality: of libjpeg. Raises InputError."""
    if original.dtype != np.uint8 or original.ndim != 3 or original.shape[2] != 3 or 0 in original.shape:
        raise InputError(f"a picture of shape {original.shape} and type {original.dtype}; expected (H, W, 3) bytes")
    if quality not in QUALITIES:
        raise InputError(f"quality {quality}; expected 1 to 100")
    height, width = original.shape[:2]
    if not _fits(height, width):
        raise InputError(f"a picture of {width}x{height}; expected at most {LONGEST} each way and 2^30 pixels: cut it")
    made = closed(own, channels(original), quality, order)
    data = written(to_planes(made.residual), quality)
    if not torch.equal(to_channels(read(data, _whole(height, width))), made.back):
        raise InputError("the libjpeg here decodes blocks of a file otherwise than apart; install another Pillow")
    return packed(Coded(NAME, own.fingerprint, height, width, _digest(made.decoded), _map(made.plain) + data))


def closed(own: Predictive, x: Tensor, quality: int, order: str = ORDERS[0]) -> Made:
    """The loop of the encoder. x: what `channels` gives."""
    residual, back, plain = torch.zeros_like(x), torch.zeros_like(x), torch.zeros(x.shape[2:], dtype=torch.bool)

    def coded(predicted: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        blocks = x[0, :, rows, columns].T
        plain[rows, columns] = beyond(blocks - predicted, 1)
        base = based(predicted, plain[rows, columns, None])
        found = coded_apart(blocks - base, quality)
        residual[0, :, rows, columns], back[0, :, rows, columns] = (blocks - base).T, found.T
        return torch.clamp(base + found, LEAST, MOST)

    return Made(own.loop(*x.shape[2:])(coded, order), residual, back, plain)


def beyond(residual: Tensor, channels: int) -> Tensor:
    """Whether the residual of a block does not fit into a file. channels: the axis of its samples."""
    return ((residual < LEAST) | (residual > MOST)).any(channels)


def based(predicted: Tensor, plain: Tensor) -> Tensor:
    """What residuals are added to."""
    return torch.where(plain, 0.0, predicted)


# ---- the decoder ----------------------------------------------------------------------------------------------------


class Decoded(NamedTuple):
    """quality: that of the residual's tables."""

    picture: Picture
    quality: Quality


def decode(own: Predictive, data: bytes, order: str = ORDERS[0]) -> Decoded:
    """The picture of a bitstream that `encode` gave. Raises BitstreamError."""
    coded = _unpacked(data)
    if coded.fingerprint != own.fingerprint:
        raise BitstreamError("it was coded with another predictor; take the checkpoint that coded it")
    size = _whole(coded.height, coded.width)
    plain, file = _split(coded.payload, size)
    quality = quality_in(file, size)
    residual = to_channels(read(file, size))

    def added(predicted: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        base = based(predicted, plain[rows, columns, None])
        return torch.clamp(base + residual[0, :, rows, columns].T, LEAST, MOST)

    decoded = own.loop(*plain.shape)(added, order)
    if _digest(decoded) != coded.symbols:
        raise BitstreamError("its JPEG file is decoded otherwise here than where it was coded; take that Pillow")
    return Decoded(picture_of(decoded)[: coded.height, : coded.width], quality)


def residual_file(data: bytes) -> bytes:
    """The JPEG file in a bitstream, as any program reads it. Raises BitstreamError."""
    coded = _unpacked(data)
    return _split(coded.payload, _whole(coded.height, coded.width))[1]


def _map(plain: Tensor) -> bytes:
    """Its length, and which blocks are sent as they are."""
    data = zlib.compress(np.packbits(plain.numpy()).tobytes(), 9) if bool(plain.any()) else b""
    return _LENGTH.pack(len(data)) + data


def _split(payload: bytes, size: tuple[int, int]) -> tuple[Tensor, bytes]:
    """Which blocks are sent as they are, and the JPEG file. size: in samples. Raises BitstreamError."""
    rows, columns = size[0] // JPEG, size[1] // JPEG
    if len(payload) < _LENGTH.size or len(payload) - _LENGTH.size < (length := _LENGTH.unpack_from(payload)[0]):
        raise BitstreamError(f"a payload of {len(payload)} bytes, which lacks its map of blocks or a part of it")
    data, file = payload[_LENGTH.size : _LENGTH.size + length], payload[_LENGTH.size + length :]
    if not data:
        return torch.zeros(rows, columns, dtype=torch.bool), file
    bytes_, inflating = -(-rows * columns // 8), zlib.decompressobj()
    try:
        bits = inflating.decompress(data, bytes_ + 1)
    except zlib.error as error:
        raise BitstreamError(f"its map of blocks is damaged ({error})") from error
    if len(bits) != bytes_ or not inflating.eof or inflating.unused_data:
        raise BitstreamError(f"its map of blocks is not one of {columns}x{rows} blocks")
    plain = np.unpackbits(np.frombuffer(bits, np.uint8), count=rows * columns).astype(bool)
    return torch.from_numpy(plain.reshape(rows, columns)), file


def _unpacked(data: bytes) -> Coded:
    coded = unpacked(data)
    if coded.codec != NAME:
        raise BitstreamError(f"it was coded by {coded.codec!r}; this codec is {NAME!r}")
    if not _fits(coded.height, coded.width):
        raise BitstreamError(f"a picture of {coded.width}x{coded.height}; expected at most {LONGEST} each way")
    return coded


# ---- samples --------------------------------------------------------------------------------------------------------


def channels(original: Picture) -> Tensor:
    """A picture in the planes of JPEG, rounded as libjpeg rounds them, (1, 192, rows, columns). Its last row and column
    are repeated up to a whole block."""
    height, width = original.shape[:2]
    filled = np.pad(original, ((0, -height % JPEG), (0, -width % JPEG), (0, 0)), mode="edge")
    return to_channels(torch.clamp(torch.round(planes(filled, torch.float64)), LEAST, MOST))


def picture_of(decoded: Tensor) -> Picture:
    """(height, width, 3) bytes, of whole blocks."""
    return picture(to_planes(decoded))


def _fits(height: int, width: int) -> bool:
    return is_size(height, width) and max(height, width) <= LONGEST


def _whole(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of samples, of whole blocks."""
    return height + -height % JPEG, width + -width % JPEG


def _digest(decoded: Tensor) -> bytes:
    return digest(decoded.to(torch.int8).contiguous().numpy().tobytes())
