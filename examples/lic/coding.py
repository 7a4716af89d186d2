"""A picture to bytes and back, by passes over whole arrays of latents.

The order of symbols never depends on blocks: first the hyper latents, then the latents pass by pass. Between the passes
the nets run whole or by blocks, on whichever side; with exact nets (exact.py) every way gives the same bits.

Encoder and decoder share one loop over the passes. What differs is where symbols come from: the encoder rounds and
writes them, the decoder reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from overlapcalc import InputError

from .bitstream import BitstreamError, Coded, digest, is_size, packed, unpacked
from .checkerboard import anchors
from .pictures import Picture
from .running import Running, Runs
from .symbols import MOST, SymbolReader, SymbolWriter, too_many
from .tables import Integers, Tables


class Pass(NamedTuple):
    """Latents that are coded at once: channels [start, stop), at anchors, at the others, or at all positions.

    net: hyper parameters to scales and means of these channels; None where they are scales and means already.
    reads: it takes the latents so far, too, with zeros where there are none yet.
    """

    net: nn.Module | None
    start: int
    stop: int
    where: str
    reads: bool


@dataclass(frozen=True)
class Coding:
    """All that both sides must have in common. Made by one codec, from one checkpoint."""

    name: str
    g_a: nn.Module
    g_s: nn.Module
    h_a: nn.Module
    h_s: nn.Module
    passes: tuple[Pass, ...]
    medians: Tensor
    scales: Tensor
    """The scales that the tables of latents are for, ascending."""
    latent_tables: Tables
    hyper_tables: Tables
    fingerprint: bytes
    dtype: torch.dtype = torch.float64

    multiple: int = 64
    """Picture sizes are padded to it: 16 samples per latent, 4 latents per hyper latent."""


LATENT = 16
"""Samples of the picture per latent, each way."""


def encode(coding: Coding, picture: Picture, running: Runs | None = None) -> bytes:
    """The picture, (height, width, 3) bytes, as a bitstream. Raises InputError."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise InputError(f"a picture of shape {picture.shape} and type {picture.dtype}; expected (H, W, 3) bytes")
    height, width = picture.shape[:2]
    if not is_size(height, width):
        raise InputError(f"a picture of {width}x{height}; expected at most 2^30 pixels: cut it")
    running = running or Running()
    writer, written = SymbolWriter(), []

    def code(values: Tensor, indexes: Integers, tables: Tables) -> Tensor:
        if not bool(torch.isfinite(values).all()):
            raise InputError(f"{coding.name}: its nets give latents that are no numbers; its weights are damaged")
        symbols = torch.clamp(torch.round(values), -MOST, MOST)
        numbers = symbols.numpy().astype(np.int64)
        writer.write(numbers, indexes, tables)
        written.append(numbers)
        return symbols

    y = running(coding.g_a, _padded(coding, picture))
    z = running(coding.h_a, y, scale=LATENT)
    _latents(coding, running, _Known(z, y), code)
    return packed(Coded(coding.name, coding.fingerprint, height, width, _digest(written), writer.bytes()))


def decode(coding: Coding, data: bytes, running: Runs | None = None) -> Picture:
    """The picture of a bitstream that `encode` gave. Raises BitstreamError."""
    coded = unpacked(data)
    if coded.codec != coding.name:
        raise BitstreamError(f"it was coded by {coded.codec!r}; this codec is {coding.name!r}")
    if coded.fingerprint != coding.fingerprint:
        raise BitstreamError(f"it was coded by {coded.codec} with other weights; take the checkpoint that coded it")
    running = running or Running()
    reader, read = SymbolReader(coded.payload), []

    def code(values: Tensor, indexes: Integers, tables: Tables) -> Tensor:
        numbers = reader.read(indexes, tables)
        read.append(numbers)
        return torch.from_numpy(numbers).to(coding.dtype)

    high, wide = (-(-n // coding.multiple) for n in (coded.height, coded.width))
    if too_many(high * wide * _least_bits(coding), len(coded.payload)):  # before memory is taken for them
        raise BitstreamError(
            f"a payload of {len(coded.payload)} bytes is too short for a picture of {coded.width}x{coded.height}"
        )
    z = torch.zeros(1, len(coding.medians), high, wide, dtype=coding.dtype)
    y_hat = _latents(coding, running, _Known(z, None), code)
    reader.finish()
    if _digest(read) != coded.symbols:
        raise BitstreamError("the nets gave other probabilities here than where it was coded, so it cannot be decoded")
    x = running(coding.g_s, y_hat)[0, :, : coded.height, : coded.width]
    made: Picture = torch.clamp(torch.round(x * 255.0), 0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    return made


def walk(coding: Coding) -> None:
    """Runs every net once, on the smallest picture, of noise; for what must be looked at while they run."""
    noise = np.random.default_rng(0).random((1, 3, coding.multiple, coding.multiple))
    with torch.no_grad():
        y = coding.g_a(torch.from_numpy(noise).to(coding.dtype))
        hyper = coding.h_s(coding.h_a(y))
        for step in coding.passes:
            if step.net is not None:
                step.net(*(hyper, y) if step.reads else (hyper,))
        coding.g_s(y)


class _Known(NamedTuple):
    """What one side has to begin with: the encoder the latents, the decoder their sizes."""

    z: Tensor
    y: Tensor | None


def _latents(
    coding: Coding, running: Runs, known: _Known, code: Callable[[Tensor, Integers, Tables], Tensor]
) -> Tensor:
    """The decoded latents. code: distances from the means, as a flat tensor, to the symbols that both sides take."""
    z, medians = known.z, coding.medians.reshape(1, -1, 1, 1)
    channel = torch.arange(z.shape[1]).reshape(1, -1, 1, 1).expand(z.shape)
    symbols = code((z - medians).flatten(), channel.flatten().numpy(), coding.hyper_tables)
    hyper = running(coding.h_s, symbols.reshape(z.shape) + medians, scale=LATENT)
    y_hat = hyper.new_zeros(1, coding.passes[-1].stop, *hyper.shape[2:])
    even = anchors(hyper)
    for step in coding.passes:
        given = (hyper, y_hat) if step.reads else (hyper,)
        found = hyper if step.net is None else running(step.net, *given, scale=LATENT)
        scales, means = found.chunk(2, 1)
        where = {"all": torch.ones_like(even), "anchors": even, "others": ~even}[step.where].expand(scales.shape)
        indexes = torch.bucketize(scales[where].contiguous(), coding.scales[:-1]).numpy()
        part = y_hat[:, step.start : step.stop]
        own = means if known.y is None else known.y[:, step.start : step.stop] - means
        part[where] = code(own[where], indexes, coding.latent_tables) + means[where]
    return y_hat


def _least_bits(coding: Coding) -> float:
    """What the symbols of one hyper latent's position take if every one is the likeliest that there is."""
    hyper, latent = (
        [float(own.bits(i).min()) for i in range(len(own.counts))]
        for own in (coding.hyper_tables, coding.latent_tables)
    )
    return sum(hyper) + (coding.multiple // LATENT) ** 2 * coding.passes[-1].stop * min(latent)


def _padded(coding: Coding, picture: Picture) -> Tensor:
    """The picture as 0 to 1, its last row and column repeated up to the multiple."""
    height, width = picture.shape[:2]
    x = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].to(coding.dtype) / 255.0
    return F.pad(x, (0, -width % coding.multiple, 0, -height % coding.multiple), mode="replicate")


def _digest(symbols: list[Integers]) -> bytes:
    return digest(*(numbers.astype("<i4").tobytes() for numbers in symbols))
