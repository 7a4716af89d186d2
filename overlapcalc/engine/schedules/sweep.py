"""Operators that go to and fro over a stored tensor, band by band (see ops/scans.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from ...algebra.spans import Span
from ...ops.scans import Way
from ..slab.band import BandCall
from ..spill.rows import Rows

WAY = "/way"
FEW = 3
"""So many bands show what all of them hold."""


def bands_of(size: int, rows: int, *, few: bool) -> list[Span]:
    """The bands along an axis; of those of one length, only a few where these are enough."""
    spans = [Span(i, min(i + rows, size)) for i in range(0, size, rows)]
    return spans[:FEW] if few else spans


def sweep(
    call: BandCall,
    ways: Sequence[Way],
    bands: Sequence[Span],
    read: Callable[[Span], Tensor],
    write: Callable[[int, Span, Tensor], Rows],
    per_sample: int,
) -> Iterator[tuple[Span, Tensor]]:
    """The bands of the result, as the last way gives them. read: a band of the operand. write: stores the band that way
    k gives, and returns where. per_sample: how many indices of the dimension that is cut one sample of the axis has."""
    stored: dict[int, Rows] = {}
    last = {j: k for k, way in enumerate(ways, 1) for j in way.reads}
    for k, way in enumerate(ways, 1):
        state = None
        for span in reversed(bands) if way.backward else bands:
            at = Span(span.start * per_sample, span.stop * per_sample)
            found, state = way.run(call, [stored[j].read(at) if j else read(span) for j in way.reads], state)
            if k == len(ways):
                yield span, found
            else:
                stored[k] = write(k, at, found)
            del found
        for j in [j for j in stored if last.get(j) == k]:
            stored.pop(j).drop()


def between(name: str, k: int) -> str:
    """The name of what way k of a call gives to others."""
    return f"{name}{WAY}{k}"


def giver(name: str) -> str:
    """The call that such a name belongs to."""
    return name.rpartition(WAY)[0]
