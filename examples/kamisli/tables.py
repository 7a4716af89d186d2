"""Tables of the codec: what training closed of the gap, and what pictures cost beside other codecs."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

import overlapcalc as oc
from examples.lic.extra import extra
from examples.lic.pictures import Picture, psnr
from examples.lic.sheet import Sheet
from overlapcalc import InputError

from .checkpoint import iterations, load_coding
from .coding import decode, encode
from .nets import KERNELS, Entropy, Shape, Synthesis
from .photographs import HELD_OUT, read


def acl(checkpoint: Path) -> Sheet:
    """What held-out pictures cost after each iteration of training, as it was measured then."""
    return Sheet(
        "acl",
        "bits per pixel + lambda * MSE, mean of the pictures held out, with stored reconstructions and coded",
        ("iteration", "open", "closed", "gap", "bpp", "dB"),
        tuple(
            (str(done.number), f"{done.open.cost:.4f}", f"{done.closed.cost:.4f}",
             f"{done.closed.cost - done.open.cost:+.4f}", f"{done.closed.bits:.3f}",
             f"{-10 * math.log10(done.closed.error):.2f}")
            for done in iterations(checkpoint)
        ),
        words=1,
    )  # fmt: skip


PICTURES = ((768, 512), (3840, 2160))
"""Width and height."""


def wavefront() -> Sheet:
    """Blocks that the nets read, and in how few steps all blocks of a picture can be decoded.

    From the nets by `overlapcalc`; nothing is run. Cones do not depend on numbers of channels, so these are few.
    """
    rows = []
    for kernels in KERNELS:
        shape = Shape(8, 8, 1, kernels)
        picture, latents = (1, shape.samples, 12, 12), (1, shape.m, 12, 12)
        entropy = oc.analyze(Entropy(shape).eval(), picture).cone()
        synthesis = oc.analyze(Synthesis(shape).eval(), (latents, picture)).cone(input="reconstruction")
        order = oc.wavefront(entropy, synthesis)
        sizes = [(-(-height // shape.block), -(-width // shape.block)) for width, height in PICTURES]
        steps = [f"{order.steps(size)} of {size[0] * size[1]}" for size in sizes]
        rows.append((kernels, str(len(synthesis.taps)), str(len(entropy.taps)), str(order.skew), *steps))
    heads = ("kernels", "blocks that t_s reads", "that n reads", "skew", *(f"steps, {w}x{h}" for w, h in PICTURES))
    return Sheet("wavefront", "steps of the shortest order, of as many in raster order", heads, tuple(rows), words=1)


OTHERS: dict[str, dict[str, Any]] = {
    "JPEG 4:2:0": {"format": "JPEG", "subsampling": 2, "optimize": True},
    "JPEG 4:4:4": {"format": "JPEG", "subsampling": 0, "optimize": True},
    "WebP": {"format": "WEBP"},
}


class Point(NamedTuple):
    """A coded picture: bytes, and PSNR in dB."""

    size: int
    decibels: float


def rd(checkpoint: Path) -> Sheet:
    """Real bitstreams of the pictures held out, and what others reach in as many bytes."""
    rows = list(_rows(checkpoint))
    means = ("mean", "", *(f"{fmean(float(row[i]) for row in rows):.3f}" for i in (2,)),
             *(f"{fmean(float(row[i]) for row in rows):.2f}" for i in range(3, 4 + len(OTHERS))))  # fmt: skip
    heads = ("picture", "size", "bpp", "dB", *(f"{name}, dB" for name in OTHERS))
    return Sheet("rd", "PSNR in as many bytes", heads, (*rows, means))


def _rows(checkpoint: Path) -> Iterator[tuple[str, ...]]:
    coding = load_coding(checkpoint)
    for photograph in HELD_OUT:
        picture = read(photograph)
        data = encode(coding, picture)
        own = Point(len(data), psnr(picture, decode(coding, data)))
        height, width = picture.shape[:2]
        others = [at_size(curve(picture, options), own.size) for options in OTHERS.values()]
        yield (photograph.name, f"{width}x{height}", f"{8 * own.size / (width * height):.3f}",
               *(f"{decibels:.2f}" for decibels in (own.decibels, *others)))  # fmt: skip


def curve(picture: Picture, options: dict[str, Any]) -> list[Point]:
    """A picture by Pillow, at every quality from 1 to 95."""
    image, found = extra("PIL.Image"), []
    for quality in range(1, 96):
        file = io.BytesIO()
        image.fromarray(picture).save(file, quality=quality, **options)
        found.append(Point(len(file.getvalue()), psnr(picture, np.array(image.open(file).convert("RGB")))))
    return found


def at_size(points: Sequence[Point], size: int) -> float:
    """PSNR at a size, between the nearest points, by the logarithm of sizes. Raises InputError beyond them."""
    points = sorted(points)
    if not points[0].size <= size <= points[-1].size:
        raise InputError(f"{size} bytes; the other codec reaches {points[0].size} to {points[-1].size}")
    sizes, decibels = ([point[i] for point in points] for i in (0, 1))
    return float(np.interp(math.log(size), np.log(sizes), decibels))
