"""Operators that read index by index, but for samples that a mask zeroes."""

from __future__ import annotations

from ...algebra.index_map import IndexMap
from ...algebra.spans import Spans


def stays(reads: IndexMap) -> bool:
    """Whether each output reads the sample of its own index, or nothing.

    >>> stays(IndexMap.identity()), stays(IndexMap.shift(1))
    (True, False)
    """
    own = [Spans.span(o, o + 1) for o in range(reads.period)]
    return reads.period == reads.advance and all(not p or p == o for p, o in zip(reads.phases, own, strict=True))
