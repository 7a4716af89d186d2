"""Values spread over the cells of a tensor: its indices over all dimensions but the spatial axes, channels above all.

`cat(conv9, conv1).chunk(2)[1]` reads one sample, not nine. To see that, what a tensor reads is kept per cell until
something mixes the cells. Nearly always all cells agree, and the field is one value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Field(Generic[T]):
    """One value per cell. `values` lie row-major over `stored`: the shape, with 1 for dimensions along which all agree.

    A field that varies along the 64 places of a window, but not along its 96 channels, stores 64 values.

    >>> field = Field.of((4,), ["conv9", "conv9", "conv1", "conv1"])
    >>> field.along(0, [[2], [3]], max, "").values  # .chunk(2)[1]
    ('conv1',)
    """

    shape: tuple[int, ...]
    values: tuple[T, ...]
    stored: tuple[int, ...]

    @staticmethod
    def one(shape: tuple[int, ...], value: T) -> Field[T]:
        """The same value in every cell."""
        return Field(shape, (value,), (1,) * len(shape))

    @staticmethod
    def of(shape: tuple[int, ...], values: Sequence[T], stored: tuple[int, ...] | None = None) -> Field[T]:
        if values and all(v is values[0] or v == values[0] for v in values):
            return Field.one(shape, values[0])
        return Field(shape, tuple(values), shape if stored is None else stored)

    @property
    def uniform(self) -> bool:
        return len(self.values) == 1

    def varies(self, dim: int) -> bool:
        return self.stored[dim] > 1

    def spread(self, stored: tuple[int, ...]) -> tuple[T, ...]:
        """The values written out over more of the shape."""
        if stored == self.stored:
            return self.values
        if self.uniform:
            return self.values * prod(stored)
        strides = [prod(self.stored[d + 1 :]) if n > 1 else 0 for d, n in enumerate(self.stored)]
        return tuple(self.values[i] for i in _places(stored, strides))

    def at(self, cell: tuple[int, ...]) -> T:
        """The value of one cell."""
        place = 0
        for i, n in zip(cell, self.stored, strict=True):
            place = place * n + (i if n > 1 else 0)
        return self.values[place]

    def distinct(self) -> list[T]:
        return list({id(v): v for v in self.values}.values())

    def map(self, f: Callable[[T], U]) -> Field[U]:
        """`f` of every value, called once for each distinct one."""
        done: dict[int, U] = {}
        for v in self.values:
            if id(v) not in done:
                done[id(v)] = f(v)
        return Field.of(self.shape, [done[id(v)] for v in self.values], self.stored)

    def merge(self, other: Field[T], join: Callable[[T, T], T]) -> Field[T]:
        stored = tuple(map(max, self.stored, other.stored))
        known: dict[tuple[int, int], T] = {}
        out = []
        for a, b in zip(self.spread(stored), other.spread(stored), strict=True):
            key = (id(a), id(b))
            if key not in known:
                known[key] = join(a, b)
            out.append(known[key])
        return Field.of(self.shape, out, stored)

    def union(self, join: Callable[[T, T], T]) -> T:
        """The join of all cells."""
        return _union(self.distinct(), join)

    def transposed(self, order: Sequence[int]) -> Field[T]:
        shape, stored = tuple(self.shape[d] for d in order), tuple(self.stored[d] for d in order)
        if self.uniform or list(order) == list(range(len(order))):
            return Field(shape, self.values, stored)
        strides = [prod(self.stored[d + 1 :]) for d in order]
        return Field(shape, tuple(self.values[i] for i in _places(stored, strides)), stored)

    def regrouped(self, shape: tuple[int, ...]) -> Field[T]:
        """The same cells in row-major order under another shape. Only the runs that vary are written out."""
        stored: list[int] = []
        spread: list[int] = []
        for old, new in runs(self.shape, shape):
            varied = any(self.varies(d) for d in old)
            stored += [shape[d] if varied else 1 for d in new]
            spread += [self.shape[d] if varied else 1 for d in old]
        return Field(shape, self.spread(tuple(spread)), tuple(stored)).compact()

    def compact(self) -> Field[T]:
        """The same, without the dimensions along which all cells agree."""
        values, stored = self.values, list(self.stored)
        for d, n in enumerate(stored):
            inner = prod(stored[d + 1 :])
            starts = range(0, len(values), n * inner)
            blocks = [values[o : o + inner] for o in starts]
            if n > 1 and all(
                values[o + k * inner : o + (k + 1) * inner] == block
                for o, block in zip(starts, blocks, strict=True)
                for k in range(1, n)
            ):
                values, stored[d] = tuple(v for block in blocks for v in block), 1
        return Field(self.shape, values, tuple(stored))

    def along(self, dim: int, sources: Sequence[Sequence[int]], join: Callable[[T, T], T], empty: T) -> Field[T]:
        """A field whose index `i` of `dim` holds the join of this field's indices `sources[i]`."""
        shape = (*self.shape[:dim], len(sources), *self.shape[dim + 1 :])
        size = self.stored[dim]
        if size == 1 and all(sources):
            return Field(shape, self.values, self.stored)
        if size == 1:
            sources = [(0,) if picks else () for picks in sources]
        if len(sources) == size and all(len(picks) == 1 and picks[0] == k for k, picks in enumerate(sources)):
            return self
        outer, inner = prod(self.stored[:dim]), prod(self.stored[dim + 1 :])
        known: dict[frozenset[int], T] = {}
        out: list[T] = [empty] * (outer * len(sources) * inner)
        for o, i in product(range(outer), range(inner)):
            done: dict[int, T] = {}  # many indices share one list of sources
            for k, picks in enumerate(sources):
                if id(picks) not in done and len(picks) == 1:
                    done[id(picks)] = self.values[(o * size + picks[0]) * inner + i]
                elif id(picks) not in done:
                    column = self.values[o * size * inner + i : (o + 1) * size * inner : inner]
                    found = {id(v): v for v in map(column.__getitem__, picks)}
                    key = frozenset(found)
                    if key not in known:
                        known[key] = _union(list(found.values()), join) if found else empty
                    done[id(picks)] = known[key]
                out[(o * len(sources) + k) * inner + i] = done[id(picks)]
        if len({id(picks) for picks in sources}) == 1:  # every index holds the same
            out = [out[o * len(sources) * inner + i] for o, i in product(range(outer), range(inner))]
            return Field.of(shape, out, (*self.stored[:dim], 1, *self.stored[dim + 1 :]))
        return Field.of(shape, out, (*self.stored[:dim], len(sources), *self.stored[dim + 1 :]))


def _places(shape: Sequence[int], strides: Sequence[int]) -> Iterable[int]:
    """The offsets of a strided view's entries, row-major.

    >>> _places((2, 3), (1, 2))
    [0, 2, 4, 1, 3, 5]
    """
    found = [0]
    for n, stride in zip(shape, strides, strict=True):
        found = [at + i * stride for at in found for i in range(n)]
    return found


Runs = list[tuple[list[int], list[int]]]
"""Runs of old and new dimensions with equal products, in order."""


def runs(old: Sequence[int], new: Sequence[int]) -> Runs:
    """The shortest runs of old and new dimensions with equal products, in order. The total products must be equal.

    >>> runs((2, 3, 8, 8), (2, 3, 64))
    [([0], [0]), ([1], [1]), ([2, 3], [2])]
    """
    out: Runs = []
    i = j = 0
    while i < len(old) or j < len(new):
        if i == len(old) or j == len(new):  # only dimensions of one are left
            a, b = out.pop() if out else ([], [])
            out.append((a + list(range(i, len(old))), b + list(range(j, len(new)))))
            break
        a, b = [i], [j]
        i, j = i + 1, j + 1
        while prod(old[s] for s in a) != prod(new[t] for t in b):
            if prod(old[s] for s in a) < prod(new[t] for t in b):
                a.append(i)
                i += 1
            else:
                b.append(j)
                j += 1
        out.append((a, b))
    return out


def _union(values: Sequence[T], join: Callable[[T, T], T]) -> T:
    total = values[0]
    for v in values[1:]:
        total = join(total, v)
    return total
