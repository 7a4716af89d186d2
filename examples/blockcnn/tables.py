"""Tables of the nets: what they read, and what the small ones give back of pictures that were coded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import torch
from torch import nn

import overlapcalc as oc
from examples.lic.exact import exact
from examples.lic.photographs import SETS, read
from examples.lic.pictures import Picture, psnr
from examples.lic.running import SCHEDULES
from examples.lic.sheet import Sheet
from examples.lic.similarity import ssim

from .checkpoint import FOLDER, load, path_of, trained
from .colour import picture, planes
from .jpeg import FULL, GREY, HALVED
from .nets import BLOCK, DRAWN, WINDOW, BlockCNN, Windows, folded
from .remover import Remover, Shape
from .training import jpeg

# ---- overlaps -------------------------------------------------------------------------------------------------------

FEW = 2
"""Channels: what a net reads does not depend on their number."""
SIZE = (1, 3, 96, 96)


def nets() -> dict[str, nn.Module]:
    return {
        "published, whole": BlockCNN(FEW),
        "24x24 to 8x8, whole": BlockCNN(FEW, DRAWN),
        "24x24 to 8x8, windows": Windows(BlockCNN(FEW, DRAWN), WINDOW, BLOCK),
        "remover 4:4:4": Remover(Shape(k=FEW)),
        "remover 4:2:0": Remover(Shape(halved=True, k=FEW)),
    }


def overlaps() -> Sheet:
    """From the nets by `overlapcalc`; nothing is run."""
    rows = [row for name, net in nets().items() for row in _axes(name, oc.analyze(net.eval(), SIZE))]
    heads = ("net", "axis", "field", "context", "grid", "tile")
    return Sheet("overlaps", "samples before and after a block, on the grid", heads, tuple(rows))


def _axes(name: str, analysis: oc.Analysis) -> Iterator[tuple[str, ...]]:
    """Raises ValueError where what is found is a bound."""
    for axis in "HW":
        own = analysis[axis]
        if own.context is None or own.tile is None or own.receptive_field is None or not own.exact:
            raise ValueError(f"{name}: along {axis} there is no exact answer to list")
        low, high = own.receptive_field
        field = str(low) if low == high else f"{low}-{high}"
        yield name, axis, field, ", ".join(map(str, own.context)), str(own.step), ", ".join(map(str, own.tile))


# ---- agreement ------------------------------------------------------------------------------------------------------

SIZES = ((61, 83), (47, 101))
"""Primes, so no block divides them."""
BLOCKS = (24, 40)


def agreement() -> Sheet:
    """In exact sums, which have one value whatever the kernel: every size by every block and schedule, against the
    whole."""
    torch.manual_seed(1)
    own = {name: exact(folded(net), called=name) for name, net in nets().items() if "published" not in name}
    rows = tuple((name, *map(str, _agreeing(net))) for name, net in own.items())
    return Sheet("agreement", "by blocks and whole", ("net", "runs", "the same bits"), rows, words=1)


def _agreeing(net: nn.Module) -> tuple[int, int]:
    runs = same = 0
    for height, width in SIZES:
        generator = torch.Generator().manual_seed(height)
        x = torch.randint(-128, 128, (1, 3, height, width), generator=generator).double()
        with torch.no_grad():
            whole = net(x)
        for block, schedule in product(BLOCKS, SCHEDULES):
            runs += 1
            same += torch.equal(oc.run(net, x, block=block, schedule=schedule), whole)
    return runs, same


# ---- removal --------------------------------------------------------------------------------------------------------


class Likeness(NamedTuple):
    """PSNR of all samples in dB, and SSIM."""

    decibels: float
    similarity: float


def measure(original: Picture, other: Picture) -> Likeness:
    return Likeness(psnr(original, other), ssim(original, other))


def mean(of: Iterable[Likeness]) -> Likeness:
    decibels, similarities = zip(*of, strict=True)
    return Likeness(fmean(decibels), fmean(similarities))


SAMPLINGS = (FULL, HALVED, GREY)
Measure = Callable[[Picture, Picture], Likeness]
Sets = Mapping[str, Mapping[str, Picture]]
"""Pictures by name, in sets by name."""


def photographs() -> Sets:
    """Those that settings were chosen by, and those held out. Raises InputError where their packages lack."""
    return {called: {photograph.name: read(photograph) for photograph in of} for called, of in SETS.items()}


def removal(checkpoints: Path = FOLDER, sets: Sets | None = None, measured: Measure = measure) -> Sheet:
    """Coded by Pillow, and cleaned by the net of that quality."""
    sets = photographs() if sets is None else sets
    rows = [
        (str(quality), sampling, *row)
        for quality in trained(checkpoints)
        for sampling in SAMPLINGS
        for net in [load(path_of(quality, halved=sampling == HALVED, folder=checkpoints))]
        for called, pictures in sets.items()
        for row in _cleaned(net, quality, sampling, called, pictures, measured)
    ]
    heads = ("quality", "sampling", "picture", "JPEG, dB", "cleaned, dB", "gain", "JPEG, SSIM", "cleaned, SSIM", "gain")
    return Sheet("removal", "PSNR and SSIM of pictures, coded and cleaned", heads, tuple(rows), words=3)


def _cleaned(
    net: Remover, quality: int, sampling: str, called: str, pictures: Mapping[str, Picture], measured: Measure
) -> Iterator[tuple[str, ...]]:
    """Those of a set, and their mean."""
    pairs = []
    for name, own in pictures.items():
        original = grey_of(own) if sampling == GREY else own
        decoded = jpeg(original, quality, halved=sampling == HALVED)
        pairs.append((measured(original, decoded), measured(original, cleaned(net, decoded))))
        yield name, *_numbers(*pairs[-1])
    yield f"**mean, {called}**", *_numbers(*map(mean, zip(*pairs, strict=True)))


def cleaned(net: Remover, decoded: Picture) -> Picture:
    """Without artefacts."""
    with torch.no_grad():
        return picture(net(planes(decoded)), grey=decoded.ndim == 2)


def grey_of(own: Picture) -> Picture:
    """Y, rounded."""
    return picture(planes(own, torch.float64), grey=True)


def _numbers(before: Likeness, after: Likeness) -> Iterator[str]:
    yield from (f"{before.decibels:.2f}", f"{after.decibels:.2f}", f"{after.decibels - before.decibels:+.2f}")
    yield from (f"{before.similarity:.4f}", f"{after.similarity:.4f}", f"{after.similarity - before.similarity:+.4f}")
