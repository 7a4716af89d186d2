"""Images padded at their far end, and blocks of outputs cut to what is kept of them. See planning/padding.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import torch
from torch import Tensor

from ..analysis.named import Named
from ..planning.padding import SOURCES
from ..planning.plan import Plan
from .block import Block
from .schedules.crop import packed
from .store import Image, read, type_of


def padded(image: Image, shape: Sequence[int], mode: str) -> Image:
    """An image of this shape, which begins with the given one; the image itself if it has that shape already.

    A tensor is copied, in the order in which it lies in memory. Anything else is read when a part of the result is, and
    no more of it than that part shows.

    >>> padded(torch.tensor([1, 2, 3]), [5], "reflect")
    tensor([1, 2, 3, 2, 1])
    """
    if tuple(image.shape) == tuple(shape):
        return image
    seen = Padded(image, shape, mode)
    if not isinstance(image, Tensor):
        return seen
    found = seen[tuple(slice(0, n) for n in shape)]
    return found if _order(found) == _order(image) else packed(found, like=image)


def _order(x: Tensor) -> list[int]:
    """The dimensions from the outermost in memory to the innermost."""
    strides = x.stride()
    return sorted(range(x.dim()), key=lambda d: -strides[d])


class Padded:
    """An image that is longer than what is read. A part of it is a tensor, on the CPU unless the image is elsewhere."""

    def __init__(self, image: Image, shape: Sequence[int], mode: str) -> None:
        self.image, self.mode, self.shape, self.dtype = image, mode, tuple(shape), type_of(image)
        self._device = image.device if isinstance(image, Tensor) else torch.device("cpu")

    def __getitem__(self, place: tuple[slice, ...]) -> Tensor:
        spans = [range(n)[part] for part, n in zip(place, self.shape, strict=True)]
        return self._read([slice(span.start, span.stop) for span in spans])

    def _read(self, place: list[slice]) -> Tensor:
        """Along the first dimension in which the part goes beyond the image: what is in the image, and what is not."""
        for d, (part, n) in enumerate(zip(place, self.image.shape, strict=True)):
            if part.stop <= n:
                continue
            inside = [self._read(_with(place, d, slice(part.start, n)))] if part.start < n else []
            beyond = range(max(part.start, n), part.stop)
            if self.mode not in SOURCES:
                sizes = [p.stop - p.start for p in _with(place, d, slice(0, len(beyond)))]
                return torch.cat([*inside, torch.zeros(sizes, dtype=self.dtype, device=self._device)], d)
            at = [SOURCES[self.mode](n, i) for i in beyond]
            source = self._read(_with(place, d, slice(min(at), max(at) + 1)))
            index = torch.tensor(at, device=self._device) - min(at)
            return torch.cat([*inside, source.index_select(d, index)], d)
        return read(self.image, place, self._device)


def _with(place: list[slice], d: int, part: slice) -> list[slice]:
    return [*place[:d], part, *place[d + 1 :]]


def kept(blocks: Iterator[Block], plan: Plan) -> Iterator[Block]:
    """The blocks without what is cut off the outputs of a padded image."""
    return blocks if plan.results == plan.outputs else _all_cut(blocks, plan)


def _all_cut(blocks: Any, plan: Plan) -> Iterator[Block]:
    with closing(blocks):
        for block in blocks:
            yield _cut(block, plan)
            del block  # before the next one is computed


def _cut(block: Block, plan: Plan) -> Block:
    regions, results = {}, {}
    for name, result in block.results.items():
        region, place = dict(block.regions[name]), []
        for n, axis in zip(plan.results[name], plan.labels[name], strict=True):
            span = region.get(axis)
            length = n if span is None else min(span.stop, n) - span.start
            if length > 0 and span is not None:
                region[axis] = type(span)(span.start, span.start + length)
            place.append(slice(0, max(length, 0)))
        part = result[tuple(place)]
        if part.numel():
            regions[name], results[name] = region, part
    return Block(Named(regions), Named(results))
