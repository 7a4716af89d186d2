"""What a schedule gives: a block of the outputs, with its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ..index import Span
from ..named import Named

Region = Mapping[str, Span]
"""A span per axis; axes that it does not name are whole."""


@dataclass(frozen=True)
class Block:
    """One block: per output, its region in the whole output and its samples there. An output may have none."""

    regions: Named[Region]
    results: Named[Tensor]


def within(labels: tuple[str, ...], region: Region, origin: Region | None = None) -> tuple[slice, ...]:
    """The region as slices of a tensor with these labels, which begins at `origin`."""
    out = []
    for axis in labels:
        span = region.get(axis)
        if span is None:
            out.append(slice(None))
        else:
            start = origin[axis].start if origin is not None else 0
            out.append(slice(span.start - start, span.stop - start))
    return tuple(out)
