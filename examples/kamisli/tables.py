"""Tables of the codec: what training took and what it closed of the gap, and PSNR beside other codecs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import overlapcalc as oc
from examples.lic.curves import at_size, curve
from examples.lic.photographs import SETS, Photograph, read
from examples.lic.pictures import psnr
from examples.lic.sheet import Sheet

from .checkpoint import load, load_coding, trained
from .coding import Coding, decode, encode, weights
from .nets import KERNELS, Entropy, Shape, Synthesis


def training(checkpoints: Sequence[Path]) -> Sheet:
    """The checkpoints, and the time that each took on the machine that made it."""
    rows = []
    for path in checkpoints:
        shape, nets, _ = load(path)
        rate, seconds, iterations = trained(path)
        number = sum(value.numel() for net in nets for value in weights(net).values())
        rows.append((f"{rate:.10g}", shape.kernels, f"{number:,}", f"{path.stat().st_size / 1024:.0f}",
                     str(len(iterations)), f"{seconds:.0f}"))  # fmt: skip
    heads = ("lambda", "kernels", "weights", "KiB", "iterations", "processor seconds")
    return Sheet("training", "checkpoints, and what training took", heads, tuple(rows))


def acl(checkpoints: Sequence[Path]) -> Sheet:
    """What pictures cost after each iteration of training, as it was measured then."""
    rows = [
        (f"{about.rate:.10g}", called, str(done.number), f"{opened.cost:.4f}", f"{closed.cost:.4f}",
         f"{closed.cost - opened.cost:+.4f}", f"{closed.bits:.3f}", f"{-10 * math.log10(closed.error):.2f}")
        for about in map(trained, checkpoints)
        for called in SETS
        for done in about.iterations
        for opened, closed in [done.sets[called]]
    ]  # fmt: skip
    heads = ("lambda", "pictures", "iteration", "open", "closed", "gap", "bpp", "dB")
    title = "bits per pixel + lambda * MSE, means of pictures, with stored reconstructions and coded"
    return Sheet("acl", title, heads, tuple(rows))


def cone() -> Sheet:
    """Blocks that the nets read around their own (@), row by row: read (#) or not (.)."""
    rows = []
    for kernels in KERNELS:
        for called, found in zip(("t_s", "n"), reversed(_cones(kernels)), strict=True):
            drawn = " / ".join(f"`{line}`" for line in found.drawing)
            rows.append((kernels, called, str(len(found.taps)), drawn, ", ".join(map(str, found.blind)) or "none"))
    return Sheet("cone", "blocks that are read", ("kernels", "net", "blocks", "rows", "blind"), tuple(rows), words=5)


def _cones(kernels: str) -> tuple[oc.Cone, oc.Cone]:
    """Of n and of t_s. Cones do not depend on numbers of channels, so these are few."""
    shape = Shape(8, 8, 1, kernels)
    picture, latents = (1, shape.samples, 12, 12), (1, shape.m, 12, 12)
    entropy = oc.analyze(Entropy(shape).eval(), picture).cone()
    return entropy, oc.analyze(Synthesis(shape).eval(), (latents, picture)).cone(input="reconstruction")


PICTURES = ((768, 512), (3840, 2160))
"""Width and height."""


def wavefront() -> Sheet:
    """Blocks that the nets read, and in how few steps all blocks of a picture can be decoded.

    From the nets by `overlapcalc`; nothing is run.
    """
    rows = []
    for kernels in KERNELS:
        entropy, synthesis = _cones(kernels)
        order = oc.wavefront(entropy, synthesis)
        sizes = [(-(-height // 8), -(-width // 8)) for width, height in PICTURES]
        steps = [f"{order.steps(size)} of {size[0] * size[1]}" for size in sizes]
        rows.append((kernels, str(len(synthesis.taps)), str(len(entropy.taps)), str(order.skew), *steps))
    heads = ("kernels", "blocks that t_s reads", "that n reads", "skew", *(f"steps, {w}x{h}" for w, h in PICTURES))
    return Sheet("wavefront", "steps of the shortest order, of as many in raster order", heads, tuple(rows), words=1)


OTHERS: dict[str, dict[str, Any]] = {
    "JPEG 4:2:0": {"format": "JPEG", "subsampling": 2, "optimize": True},
    "JPEG 4:4:4": {"format": "JPEG", "subsampling": 0, "optimize": True},
    "WebP": {"format": "WEBP"},
}


class Coded(NamedTuple):
    """A picture that was coded to bytes, and the PSNR of others in as many."""

    bpp: float
    decibels: float
    others: tuple[float, ...]

    @property
    def gain(self) -> float:
        """Over the better JPEG."""
        return self.decibels - max(own for name, own in zip(OTHERS, self.others, strict=True) if "JPEG" in name)


def rd(checkpoints: Sequence[Path]) -> Sheet:
    """Real bitstreams, and what others reach in as many bytes."""
    rates = [(trained(path).rate, load_coding(path)) for path in checkpoints]
    found: dict[tuple[float, str], dict[str, tuple[str, Coded]]] = {}
    for called, photographs in SETS.items():
        for photograph in photographs:
            for rate, size, coded in _at_rates(photograph, rates):
                found.setdefault((rate, called), {})[photograph.name] = size, coded
    heads = ("lambda", "picture", "size", "bpp", "dB", *(f"{name}, dB" for name in OTHERS), "over the better JPEG")
    rows = [row for rate, _ in rates for called in SETS for row in _rows(rate, called, found[rate, called])]
    return Sheet("rd", "PSNR in as many bytes", heads, tuple(rows), words=3)


def _at_rates(photograph: Photograph, rates: Sequence[tuple[float, Coding]]) -> Iterator[tuple[float, str, Coded]]:
    picture = read(photograph)
    height, width = picture.shape[:2]
    curves = [curve(picture, options) for options in OTHERS.values()]
    for rate, coding in rates:
        data = encode(coding, picture)
        others = tuple(at_size(points, len(data)) for points in curves)
        own = Coded(8 * len(data) / (width * height), psnr(picture, decode(coding, data)), others)
        yield rate, f"{width}x{height}", own


def _rows(rate: float, called: str, found: Mapping[str, tuple[str, Coded]]) -> Iterator[tuple[str, ...]]:
    """Those of a set, and their mean."""
    for name, (size, own) in found.items():
        yield (f"{rate:.10g}", name, size, *_numbers(own.bpp, own.decibels, *own.others, own.gain))
    all_ = [(own.bpp, own.decibels, *own.others, own.gain) for _, own in found.values()]
    yield (f"{rate:.10g}", f"**mean, {called}**", "", *_numbers(*map(fmean, zip(*all_, strict=True))))


def _numbers(bpp: float, *decibels: float) -> tuple[str, ...]:
    return (f"{bpp:.3f}", *(f"{own:.2f}" for own in decibels[:-1]), f"{decibels[-1]:+.2f}")
