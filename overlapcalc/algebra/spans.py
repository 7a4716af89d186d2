"""Spans of integers, and finite sets of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Pair = tuple[int, int]


@dataclass(frozen=True, order=True)
class Span:
    """The integers `start <= i < stop`, at least one. "Nothing" is `None`, never an empty span.

    Raises ValueError for an empty one.

    >>> start, stop = Span(-1, 3)
    >>> stop, str(Span(-1, 3)), 3 in Span(-1, 3)
    (3, '[-1, 3)', False)
    """

    start: int
    stop: int

    def __post_init__(self) -> None:
        if self.stop <= self.start:
            raise ValueError(f"Span({self.start}, {self.stop}) holds nothing; use None for nothing")

    @property
    def length(self) -> int:
        """How many integers.

        >>> Span(-1, 3).length
        4
        """
        return self.stop - self.start

    def __iter__(self) -> Iterator[int]:
        """Unpacks as `start, stop = span`."""
        return iter((self.start, self.stop))

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int) and self.start <= index < self.stop

    def shift(self, by: int) -> Span:
        """The span moved up.

        >>> Span(-1, 3).shift(10)
        Span(start=9, stop=13)
        """
        return Span(self.start + by, self.stop + by)

    def joined(self, other: Span | None) -> Span:
        """The shortest span that contains both; None is nothing.

        >>> str(Span(0, 2).joined(Span(5, 6)))
        '[0, 6)'
        """
        return self if other is None else Span(min(self.start, other.start), max(self.stop, other.stop))

    def __str__(self) -> str:
        return f"[{self.start}, {self.stop})"


@dataclass(frozen=True)
class Spans:
    """A set of integers as sorted, disjoint, non-touching half-open pairs; `Spans()` is the empty set.

    The pairs are plain tuples because a net needs very many of them.

    >>> Spans.of([(4, 6), (0, 2), (1, 3)])
    Spans(parts=((0, 3), (4, 6)))
    """

    parts: tuple[Pair, ...] = ()

    @staticmethod
    def of(parts: Iterable[Pair]) -> Spans:
        """The union of any half-open pairs; empty pairs are dropped."""
        todo = sorted(p for p in parts if p[0] < p[1])
        if len(todo) <= 1:
            return Spans(tuple(todo))
        out: list[Pair] = []
        start, stop = todo[0]
        for a, b in todo[1:]:
            if a > stop:
                out.append((start, stop))
                start, stop = a, b
            elif b > stop:
                stop = b
        out.append((start, stop))
        return Spans(tuple(out))

    @staticmethod
    def span(start: int, stop: int) -> Spans:
        return Spans(((start, stop),) if start < stop else ())

    @staticmethod
    def points(indices: Iterable[int]) -> Spans:
        """The set of these integers.

        >>> Spans.points([7, 0, 1])
        Spans(parts=((0, 2), (7, 8)))
        """
        return Spans.of((i, i + 1) for i in indices)

    def __bool__(self) -> bool:
        return bool(self.parts)

    def __contains__(self, index: int) -> bool:
        return any(a <= index < b for a, b in self.parts)

    def __or__(self, other: Spans) -> Spans:
        if not other.parts or self.parts == other.parts:
            return self
        if not self.parts:
            return other
        return Spans.of(self.parts + other.parts)

    def indices(self) -> Iterator[int]:
        for a, b in self.parts:
            yield from range(a, b)

    def shift(self, by: int) -> Spans:
        return Spans(tuple((a + by, b + by) for a, b in self.parts)) if by else self

    def clip(self, start: int, stop: int) -> Spans:
        """The intersection with `[start, stop)`.

        >>> Spans.span(-2, 3).clip(0, 8)
        Spans(parts=((0, 3),))
        """
        if not self.parts or (start <= self.parts[0][0] and self.parts[-1][1] <= stop):
            return self
        cut = ((max(a, start), min(b, stop)) for a, b in self.parts)
        return Spans(tuple(p for p in cut if p[0] < p[1]))

    def minus(self, other: Spans) -> Spans:
        """What is in this set and not in the other.

        >>> Spans.span(0, 9).minus(Spans.of([(2, 4), (8, 12)]))
        Spans(parts=((0, 2), (4, 8)))
        """
        left: list[Pair] = []
        for a, b in self.parts:
            for c, d in other.parts:
                if c < b and d > a:
                    if a < c:
                        left.append((a, c))
                    a = d
            if a < b:
                left.append((a, b))
        return Spans(tuple(left))

    def common(self, other: Spans) -> Spans:
        """What is in both sets.

        >>> Spans.span(0, 9).common(Spans.of([(2, 4), (8, 12)]))
        Spans(parts=((2, 4), (8, 9)))
        """
        return self.minus(self.minus(other))

    def bridged(self, gap: int) -> Spans:
        """The set with gaps of at most this many integers filled.

        >>> Spans.points([0, 3, 9]).bridged(2)
        Spans(parts=((0, 4), (9, 10)))
        """
        joined: list[Pair] = []
        for a, b in self.parts:
            if joined and a - joined[-1][1] <= gap:
                joined[-1] = joined[-1][0], b
            else:
                joined.append((a, b))
        return Spans(tuple(joined))

    def filled(self) -> Spans:
        """The set with the gaps between its parts filled.

        >>> Spans.points([0, 3]).filled()
        Spans(parts=((0, 4),))
        """
        return Spans(((self.parts[0][0], self.parts[-1][1]),)) if self.parts else self

    @property
    def hull(self) -> Span | None:
        return Span(self.parts[0][0], self.parts[-1][1]) if self.parts else None


EMPTY = Spans()
