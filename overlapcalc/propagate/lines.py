"""How a value of a graph goes on from one number of turns of a loop to the next: whole numbers in a straight line,
nodes by their positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..ops.graph import Data

Places = tuple[Mapping[str, int], Mapping[str, int]]


class NoPatternError(Exception):
    """Two values that no straight line through them explains."""


@dataclass(frozen=True)
class Line:
    """A whole number `at + by * k`."""

    at: int
    by: int

    def of(self, k: int) -> int:
        return self.at + self.by * k


@dataclass(frozen=True)
class Ref:
    """A node by its position, which moves by so many with k."""

    at: int
    by: int


@dataclass(frozen=True)
class Grown:
    """A list that gets more items with every k, some nodes after its item `at`: `more`, each time `by` further on."""

    items: tuple[Any, ...]
    at: int
    more: tuple[int, ...]
    by: int


def line(a: Any, b: Any, turn: int, places: Places) -> Any:
    """What value `a` becomes k times further on where `b` is it once further on. Raises NoPatternError.

    turn: by how many positions a node may move. places: the positions of nodes in the two graphs.
    """
    if isinstance(a, Data) and isinstance(b, Data):
        first, second = places[0][a.node], places[1][b.node]
        if second - first not in (0, turn):
            raise NoPatternError
        return Ref(first, second - first)
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        if len(a) != len(b):
            return _grown(a, b, turn, places)
        return tuple(line(x, y, turn, places) for x, y in zip(a, b, strict=True))
    if type(a) is int and type(b) is int and a != b:
        return Line(a, b - a)
    if type(a) is not type(b) or (a != b and not (a != a and b != b)):
        raise NoPatternError
    return a


def _grown(a: Any, b: Any, turn: int, places: Places) -> Grown:
    more = len(b) - len(a)
    if more <= 0 or not all(isinstance(x, Data) for x in (*a, *b)):
        raise NoPatternError
    first, second = [places[0][x.node] for x in a], [places[1][x.node] for x in b]
    at = next((i for i, (x, y) in enumerate(zip(first, second, strict=False)) if x != y), len(a))
    new = second[at : at + more]
    if [x + turn for x in first[at:]] != second[at + more :] or at < more:
        raise NoPatternError
    if [x + turn for x in second[at - more : at]] != new:
        raise NoPatternError
    items = tuple(Ref(x, 0 if i < at else turn) for i, x in enumerate(first))
    return Grown(items, at, tuple(new), turn)


def value(of: Any, k: int, names: list[str]) -> Any:
    """The value k times further on. names: the nodes by position there."""
    if isinstance(of, Line):
        return of.of(k)
    if isinstance(of, Ref):
        return Data(names[of.at + of.by * k])
    if isinstance(of, Grown):
        items = [value(x, k, names) for x in of.items]
        more = [Data(names[x + of.by * j]) for j in range(k) for x in of.more]
        kept = items[: of.at + min(k, 0) * len(of.more)]
        return (*kept, *more, *items[of.at :])
    if isinstance(of, tuple):
        return tuple(value(x, k, names) for x in of)
    return of


def steps_alike(a: Any, b: Any) -> bool:
    """Whether two lines go on alike, wherever they are."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(steps_alike(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, Ref) and isinstance(b, Ref):
        return a.by == b.by and (a.by != 0 or a.at == b.at)
    if isinstance(a, Line) and isinstance(b, Line):
        return a.by == b.by
    return a is b or (type(a) is type(b) and bool(a == b))


def numbers(line: Any) -> bool:
    """Whether a line has numbers that change."""
    return any(map(numbers, line)) if isinstance(line, tuple) else isinstance(line, Line)


def moves(line: Any) -> bool:
    """Whether a line is any but a single value."""
    if isinstance(line, tuple):
        return any(map(moves, line))
    return isinstance(line, (Line, Grown)) or (isinstance(line, Ref) and line.by != 0)
