"""Is an input the same as an output? Where that cannot be told beforehand, it shows when a block is written.

Arrays may be kept anywhere: in an HDF5 file, behind a server. So before a block is written, both are read at its place.
If the input changes with the output, the old samples are put back, and the run ends. As soon as a block changes the
output but not the input, they are known to be separate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from .apart import is_plain
from .store import Image, read, write

CPU = torch.device("cpu")
FEW = 1 << 10
"""This many samples are read first, next to nothing compared with a block; then twice as many, until some tell."""
PART = 64
"""No more than this part of a larger block is read first."""


class Witness:
    """Writes the blocks of one output. Inputs that are known by their memory need no check."""

    def __init__(self, store: Any, images: Sequence[Image]) -> None:
        self._store = store
        self._images = [x for x in images if not (is_plain(x) and is_plain(store))]

    def write(self, place: Sequence[slice], result: Tensor) -> None:
        """Put a block where it belongs. Raises InputError."""
        if not self._images or not result.dim():
            write(self._store, place, result)
            return
        whole = [slice(*part.indices(n)) for part, n in zip(place, self._store.shape, strict=True)]
        d = _along(result)
        begins, length = 0, max(FEW * result.shape[d] // result.numel(), 1)
        while begins < result.shape[d]:
            n = min(length if self._images else result.shape[d], result.shape[d] - begins)
            start = whole[d].start + begins
            part = [*whole[:d], slice(start, start + n), *whole[d + 1 :]]
            self._watched(part, result.narrow(d, begins, n))
            begins, length = begins + n, 2 * length

    def _watched(self, place: Sequence[slice], result: Tensor) -> None:
        old = self._seen(self._store, place) if self._images else None
        if old is None:
            write(self._store, place, result)
            return
        found = {i: self._seen(x, place) for i, x in enumerate(self._images)}
        before = {i: seen for i, seen in found.items() if seen is not None}
        write(self._store, place, result)
        for i, seen in before.items():
            if not _equal(self._seen(self._images[i], place), seen):
                write(self._store, place, old)
                raise InputError(
                    "out is an input under another name: what blocks still read changed when one was written, and was "
                    "put back; give another place"
                )
        if not _equal(self._seen(self._store, place), old):
            self._images = [x for i, x in enumerate(self._images) if i not in before]

    @staticmethod
    def _seen(image: Any, place: Sequence[slice]) -> Tensor | None:
        """A part of an image as it is now; None where there is none, or where it cannot be read back."""
        shape: Mapping[int, int] = dict(enumerate(image.shape))
        if len(shape) != len(place) or not hasattr(image, "__getitem__"):
            return None
        cut = [slice(*part.indices(shape[d])) for d, part in enumerate(place)]
        if any(part.start >= part.stop for part in cut):
            return None
        try:
            part = read(image, cut, CPU)
            return part.clone() if isinstance(image, Tensor) else part
        except InputError:
            return None


def _along(block: Tensor) -> int:
    """The dimension along which to divide a block: the outermost one that is short enough, because samples that lie
    together cost least to read."""
    most = max(FEW, block.numel() // PART)
    return next(d for d in range(block.dim()) if prod(block.shape[d + 1 :]) <= most)


def _equal(a: Tensor | None, b: Tensor | None) -> bool:
    return a is not None and b is not None and a.shape == b.shape and torch.equal(_bits(a), _bits(b))


def _bits(x: Tensor) -> Tensor:
    return x.contiguous().flatten().view(torch.uint8)
