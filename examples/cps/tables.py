"""What CPS needs beside what its rule says, and patches stitched with enough overlap and with too little.

python -m examples.cps.tables
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import torch
from rich.console import Console

from examples.lic.overlaps import HEADS, overlap_row
from examples.lic.recurrences import pops
from examples.lic.sheet import Sheet, show

from .nets import CPS
from .pops import stitch

CHANNELS = 192
FIELD, SCALE = 72, 16
"""Of the encoder, as published."""


def overlaps() -> Sheet:
    parts = CPS(CHANNELS).parts
    shapes = {"g_a": (3, 256), "h_a": (CHANNELS, 64), "h_s": (CHANNELS, 16), "g_s": (CHANNELS, 32)}
    rule = pops(FIELD, SCALE)
    theirs = {"g_a": str(rule), "g_s": str(rule // SCALE)}
    rows = []
    for transform, (channels, size) in shapes.items():
        found = dict(zip(HEADS, overlap_row(getattr(parts, transform), (1, channels, size, size), None), strict=True))
        named = tuple(found[head] for head in HEADS if head != "recurrences")
        rows.append((transform, *named, theirs.get(transform, "")))
    heads = ("transform", *(head for head in HEADS if head != "recurrences"), "POPS, both sides")
    title = "CPS: overlaps before and after a block, in samples of each transform's input"
    return Sheet("cps-overlaps", title, heads, tuple(rows), words=1)


def stitching() -> Sheet:
    """In float64, with torch's initial weights."""
    title = "CPS: patches stitched, against the whole (float64, largest error over largest sample)"
    return Sheet("cps-stitching", title, ("transform", "patch", "overlap", "error"), tuple(_stitched()), words=1)


def _stitched() -> Iterator[tuple[str, ...]]:
    torch.manual_seed(0)
    parts = CPS(CHANNELS).double().eval().parts
    with torch.no_grad():
        picture = torch.rand(1, 3, 304, 304, dtype=torch.float64)
        latents = parts.g_a(picture)
        for transform, x, scale, patch in (
            ("g_a", picture, Fraction(SCALE), 144),
            ("g_s", latents, Fraction(1, SCALE), 9),
        ):
            net = getattr(parts, transform)
            whole = net(x)
            for overlap in (pops(FIELD, SCALE), pops(FIELD, SCALE) // 2):
                samples = overlap if transform == "g_a" else overlap // SCALE
                found = stitch(net, x, patch=patch, overlap=samples, scale=scale)
                error = (found - whole).abs().max() / whole.abs().max()
                yield transform, str(patch), str(samples), f"{error:.0e}"


def sheets() -> Iterator[Sheet]:
    yield overlaps()
    yield stitching()


if __name__ == "__main__":
    for sheet in sheets():
        show(sheet, Console())
