"""POPS, parallel overlapping patch stitching: patches of one size are run apart, and what they give is put together.

Neighbouring patches share an overlap; each gives up half of it, and the last one lies against the image's end.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Patch:
    """One patch along one axis: input `[start, stop)` is fed, and of the whole output `[first, last)` is kept."""

    start: int
    stop: int
    first: int
    last: int


def patches(size: int, patch: int, overlap: int, scale: Fraction) -> list[Patch]:
    """Along one axis. scale: input samples per output sample. ValueError where half the overlap is no whole sample of
    both, or patches do not fit."""
    cut = overlap // 2
    if (
        overlap % 2
        or (cut / scale).denominator != 1
        or (patch / scale).denominator != 1
        or (size / scale).denominator != 1
    ):
        raise ValueError(
            f"size {size}, patches of {patch} and an overlap of {overlap}: half the overlap, the patch and the size "
            f"must be whole samples of the output, one of which is {scale} of the input"
        )
    if not 2 * overlap <= patch <= size:
        raise ValueError(
            f"patches of {patch} with an overlap of {overlap} of an image of {size}: at least twice the overlap, at "
            "most the image"
        )
    starts = [*range(0, size - patch, patch - overlap), size - patch]
    edges = [0, *(start + patch - cut for start in starts[:-1]), size]
    return [
        Patch(start, start + patch, int(a / scale), int(b / scale))
        for start, a, b in zip(starts, edges, edges[1:], strict=False)
    ]


def stitch(net: nn.Module, x: Tensor, *, patch: int, overlap: int, scale: Fraction | int) -> Tensor:
    """`net(x)`, run on patches. patch, overlap: samples of x. scale: samples of x per sample of the output; 16 for an
    encoder, Fraction(1, 16) for its decoder. Equal to the whole if the overlap is large enough, else seams show."""
    scale = Fraction(scale)
    rows, columns = (patches(n, patch, overlap, scale) for n in x.shape[-2:])
    found: dict[int, list[Tensor]] = {}
    for row, column in product(rows, columns):
        y = net(x[..., row.start : row.stop, column.start : column.stop])
        found.setdefault(row.first, []).append(_kept(_kept(y, row, scale, -2), column, scale, -1))
    return torch.cat([torch.cat(line, -1) for line in found.values()], -2)


def _kept(y: Tensor, patch: Patch, scale: Fraction, dim: int) -> Tensor:
    return y.narrow(dim, patch.first - int(patch.start / scale), patch.last - patch.first)
