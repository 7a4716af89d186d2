"""A JPEG file to a PNG file without its artefacts, by blocks: see `deblock`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

import overlapcalc as oc
from examples.lic.exact import exact
from overlapcalc.io.atomic import Door

from .checkpoint import FOLDER, load, path_of, trained
from .jpeg import Header, Quality, header_of, opened
from .rows import Canvas, Planes, Strip, canvas

UNCHANGED_ROWS = 64
"""At a time, where nothing is to be removed."""


@dataclass(frozen=True)
class How:
    """block: rows of a band of a stream, or of a block each way. exact: in exact sums, some ten times slower, so that
    blocks of every size and every schedule give the same bytes. by_rows: decode by pyvips, with few rows in memory.

    quality: of the net, instead of the one nearest to the file's. checkpoints: a folder of them.
    """

    block: int = 64
    schedule: str = "stream"
    exact: bool = False
    by_rows: bool = False
    quality: int | None = None
    checkpoints: Path = FOLDER


class Deblocked(NamedTuple):
    """net: the quality that the net was trained for; None where the picture was returned unchanged."""

    header: Header
    net: int | None
    highest: int


Told = Callable[[int, int], object]
"""Is told how many rows are done, and of how many, now and then."""


def deblock(source: Path, target: Path, door: Door, how: How, *, told: Told = lambda *_: None) -> Deblocked:
    """Nothing is at `target` before all of it is. Raises InputError."""
    qualities = trained(how.checkpoints)
    with opened(source) as file:
        header = header_of(file, source)
        quality = nearest(header.quality, qualities) if how.quality is None else how.quality
        net = None if quality is None else load(path_of(quality, halved=header.halved, folder=how.checkpoints))
        with canvas(file, header, source, target, door, by_rows=how.by_rows) as own:
            if net is None:
                _unchanged(own, header.size[0])
            else:
                clean(own, header, net, how, told=told)
    return Deblocked(header, quality, qualities[-1])


def nearest(quality: Quality, qualities: tuple[int, ...]) -> int | None:
    """Of those that nets were trained for, ascending; the higher of two. None above the highest: what is left of the
    artefacts there is no larger than what such a net takes away from the picture."""
    if quality.value > qualities[-1]:
        return None
    return min(reversed(qualities), key=lambda own: abs(own - quality.value))


def clean(own: Canvas, header: Header, net: nn.Module, how: How, *, told: Told = lambda *_: None) -> None:
    """Runs a net over a canvas by blocks."""
    runs = exact(net, called="the remover") if how.exact else net
    reads = Planes(own, header.size, torch.float64 if how.exact else torch.float32)
    strip = Strip(own, header)
    options: dict[str, Any] = {"block": how.block, "schedule": how.schedule}
    if how.schedule == "stream":  # whole rows, so that the rows above are done with
        options |= {"block": {"H": how.block}, "stream_axis": "H"}
    for made in oc.blocks(runs, reads, **options):
        region = made.regions["output"]
        strip.put(region["H"], region["W"], made.results["output"])
        told(region["H"].stop, header.size[0])


def _unchanged(own: Canvas, height: int) -> None:
    for start in range(0, height, UNCHANGED_ROWS):
        own.put(start, own.read(start, min(start + UNCHANGED_ROWS, height)))
