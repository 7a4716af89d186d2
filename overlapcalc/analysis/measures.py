"""The figures of an index map: context, receptive field, reach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..algebra.index_map import IndexMap


@dataclass(frozen=True)
class Sides:
    """Samples of the input before and after a block's own place. Exact and signed: a crop by 3 has context -3, 3.

    >>> before, after = Sides(11, 10)
    >>> before, after
    (11, 10)
    """

    before: int
    after: int

    @property
    def total(self) -> int:
        """before + after: the overlap of neighbours.

        >>> Sides(11, 10).total
        21
        """
        return self.before + self.after

    def __iter__(self) -> Iterator[int]:
        return iter((self.before, self.after))

    def to_dict(self) -> dict[str, int]:
        return {"before": self.before, "after": self.after, "total": self.total}


def context_of(reads: IndexMap, step: int, out_step: int) -> Sides | None:
    """The context of a block of outputs on the grid: before and after `[u*step, v*step)`; None where it reads nothing.

    The first period decides the front and the last one the back, so the number of steps does not matter.

    >>> context_of(IndexMap.window(5, stride=2, padding=2), 2, 1)
    Sides(before=2, after=1)
    """
    hull = reads.reads(0, out_step)
    return None if hull is None else Sides(-hull.start, hull.stop - step)


@dataclass(frozen=True)
class Window:
    """What reads along an axis mean for one output, and for a block on the grid: the figures of AxisAnalysis."""

    receptive_field: tuple[int, int] = (0, 0)
    reach: Sides | None = None
    context: Sides | None = None
    exact_before: bool = True
    exact_after: bool = True
    exact: bool = True


NO_WINDOW = Window()
"""Where nothing is read."""


def window_of(reads: IndexMap, sure: IndexMap | None, step: int, out_step: int) -> Window:
    """The window of these reads. sure: the part that is known to be real; a side of the context is exact if it reaches
    as far.

    >>> five = IndexMap.window(5, padding=2)
    >>> window = window_of(five, IndexMap.window(3, padding=2), 1, 1)
    >>> tuple(window.context), window.exact_before, window.exact_after
    ((2, 2), True, False)
    """
    context = context_of(reads, step, out_step)
    real = context_of(sure, step, out_step) if sure is not None else None
    before = real is not None and context is not None and real.before == context.before
    after = real is not None and context is not None and real.after == context.after
    return Window(
        receptive_field=receptive_field(reads),
        reach=reach_of_one(reads),
        context=context,
        exact_before=before,
        exact_after=after,
        exact=before and after and (sure is reads or sure == reads),
    )


def receptive_field(reads: IndexMap) -> tuple[int, int]:
    """Smallest and largest number of samples from first to last read, over the output phases.

    >>> receptive_field(IndexMap.transposed(range(5), stride=2, padding=2))
    (2, 3)
    """
    lengths = [p.hull.length if p.hull else 0 for p in reads.phases]
    return min(lengths), max(lengths)


def reach_of_one(reads: IndexMap) -> Sides | None:
    """How far the worst single output o reads beyond its own place, `[floor(o*scale), ceil((o+1)*scale))`.

    >>> reach_of_one(IndexMap.transposed(range(5), stride=2, padding=2))
    Sides(before=1, after=1)
    """
    before, after = [], []
    for o in range(reads.period):
        hull = reads[o].hull
        if hull is not None:
            before.append((o * reads.scale).__floor__() - hull.start)
            after.append(hull.stop - ((o + 1) * reads.scale).__ceil__())
    return Sides(max(before), max(after)) if before else None
