"""Sets of points over several axes at once, as disjoint products.

What a net reads axis by axis is a product, and a mask is none: PixelCNN reads the row above and the left neighbour, not
the row to the right. A path of a net reads a product; branches and masks make unions of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise, product
from math import prod

from .spans import Span, Spans

Product = tuple[Spans, ...]
"""One set per axis: all points whose coordinates lie in them."""


@dataclass(frozen=True)
class Boxes:
    """A finite set of points with whole coordinates. Equal sets of the same number of axes are equal values.

    rows: pairs of indices along the first axis, and what each of them holds along the others (None: there are no
    others). The indices of two rows have nothing in common, and no two rows hold the same. No rows: nothing.

    >>> above, left = Boxes.of([Spans.span(-1, 0), Spans.span(-1, 2)]), Boxes.of([Spans.span(0, 1), Spans.span(-1, 0)])
    >>> list((above | left).points())
    [(-1, -1), (-1, 0), (-1, 1), (0, -1)]
    """

    rows: tuple[tuple[Spans, Boxes | None], ...] = ()

    @staticmethod
    def of(sets: Sequence[Spans]) -> Boxes:
        """The product of one set per axis, at least one axis."""
        if not all(sets):
            return NOWHERE
        first, *others = sets
        return Boxes(((first, Boxes.of(others) if others else None),))

    @staticmethod
    def union(many: Iterable[Boxes]) -> Boxes:
        """All points of any of them.

        >>> a, b = Boxes.of([Spans.span(0, 2), Spans.span(0, 3)]), Boxes.of([Spans.span(1, 3), Spans.span(0, 3)])
        >>> Boxes.union([a, b]) == Boxes.of([Spans.span(0, 3), Spans.span(0, 3)])
        True
        """
        return reduce(Boxes.__or__, many, NOWHERE)

    def __bool__(self) -> bool:
        return bool(self.rows)

    def __or__(self, other: Boxes) -> Boxes:
        if not other.rows or self is other or self.rows == other.rows:
            return self
        if not self.rows:
            return other
        rows = (*self.rows, *other.rows)
        edges = sorted({edge for indices, _ in rows for part in indices.parts for edge in part})
        alike: dict[Boxes | None, list[tuple[int, int]]] = {}
        for start, stop in pairwise(edges):
            here = [rest for indices, rest in rows if start in indices]
            if here:
                found = None if here[0] is None else Boxes.union(r for r in here if r is not None)
                alike.setdefault(found, []).append((start, stop))
        return Boxes._sorted((Spans.of(parts), rest) for rest, parts in alike.items())

    @staticmethod
    def _sorted(rows: Iterable[tuple[Spans, Boxes | None]]) -> Boxes:
        return Boxes(tuple(sorted(rows, key=lambda row: row[0].parts)))

    def __contains__(self, point: Sequence[int]) -> bool:
        first, *others = point
        return any(first in indices and (rest is None or others in rest) for indices, rest in self.rows)

    def pulled(self, maps: Sequence[Callable[[Spans], Spans]]) -> Boxes:
        """The union of what maps, one per axis, make of each product. Each must keep unions: f(a | b) == f(a) | f(b).

        >>> Boxes.of([Spans.span(0, 1), Spans.span(4, 5)]).pulled([lambda s: s.shift(-1), lambda s: s])
        Boxes(rows=((Spans(parts=((-1, 0),)), Boxes(rows=((Spans(parts=((4, 5),)), None),))),))
        """
        moved, *others = maps
        found = []
        for indices, rest in self.rows:
            first, inner = moved(indices), rest.pulled(others) if rest is not None else None
            if first and (inner is None or inner):
                found.append(Boxes(((first, inner),)))
        return Boxes.union(found)

    def products(self) -> Iterator[Product]:
        """Disjoint products whose union it is."""
        for indices, rest in self.rows:
            if rest is None:
                yield (indices,)
            else:
                yield from ((indices, *inner) for inner in rest.products())

    def points(self) -> Iterator[tuple[int, ...]]:
        """Every point, in row-major order."""
        found = [(i, rest) for indices, rest in self.rows for i in indices.indices()]
        for i, rest in sorted(found, key=lambda pair: pair[0]):
            if rest is None:
                yield (i,)
            else:
                yield from ((i, *inner) for inner in rest.points())

    @property
    def count(self) -> int:
        """The number of points.

        >>> Boxes.of([Spans.span(0, 3), Spans.span(0, 5)]).count
        15
        """
        return sum(prod(sum(stop - start for start, stop in axis.parts) for axis in found) for found in self.products())

    @property
    def hull(self) -> tuple[Span, ...] | None:
        """The smallest box around it, one span per axis.

        >>> (Boxes.of([Spans.span(0, 1)]) | Boxes.of([Spans.span(5, 6)])).hull
        (Span(start=0, stop=6),)
        """
        if not self.rows:
            return None
        total = [reduce(Spans.__or__, axis) for axis in zip(*self.products(), strict=True)]
        return tuple(span for axis in total if (span := axis.hull) is not None)

    def spans(self) -> Iterator[tuple[Span, ...]]:
        """Disjoint boxes, one span per axis, whose union it is.

        >>> list(Boxes.of([Spans.of([(0, 1), (4, 5)]), Spans.span(0, 2)]).spans())[1]
        (Span(start=4, stop=5), Span(start=0, stop=2))
        """
        for found in self.products():
            for parts in product(*(axis.parts for axis in found)):
                yield tuple(Span(*part) for part in parts)


NOWHERE = Boxes()
