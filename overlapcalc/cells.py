"""Values spread over the cells of a tensor: everything that is not a spatial axis, channels above all.

`cat(conv9, conv1).chunk(2)[1]` reads one sample, not nine. To see that, what a tensor reads is kept per cell
(an index over its non-spatial dimensions) until something mixes the cells. Nearly always all cells agree, and
then a field is one value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Generic, TypeVar

from .index import IndexMap, Spans

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Field(Generic[T]):
    """One value per cell. `values` lie row-major over `stored`: the shape, with 1 for dimensions along which all agree.

    A field that varies along the 64 places of a window, but not along its 96 channels, stores 64 values.
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
        """The same cells in row-major order under another shape. What varies is kept apart run by run."""
        stored: list[int] = []
        spread: list[int] = []
        for old, new in runs(self.shape, shape):
            varied = any(self.varies(d) for d in old)
            stored += [shape[d] if varied else 1 for d in new]
            spread += [self.shape[d] if varied else 1 for d in old]
        return Field(shape, self.spread(tuple(spread)), tuple(stored))

    def along(self, dim: int, sources: Sequence[Sequence[int]], join: Callable[[T, T], T], empty: T) -> Field[T]:
        """A field whose index `i` of `dim` holds the join of this field's indices `sources[i]`."""
        shape = (*self.shape[:dim], len(sources), *self.shape[dim + 1 :])
        size = self.stored[dim]
        if size == 1 and all(sources):
            return Field(shape, self.values, self.stored)
        if size == 1:
            sources = [(0,) if picks else () for picks in sources]
        outer, inner = prod(self.stored[:dim]), prod(self.stored[dim + 1 :])
        known: dict[tuple[int, ...], T] = {}
        out: list[T] = [empty] * (outer * len(sources) * inner)
        for o, i in product(range(outer), range(inner)):
            done: dict[int, T] = {}  # many indices share one list of sources
            for k, picks in enumerate(sources):
                if id(picks) not in done:
                    found = {id(v): v for v in (self.values[(o * size + p) * inner + i] for p in picks)}
                    key = tuple(sorted(found))
                    if key not in known:
                        known[key] = _union(list(found.values()), join) if found else empty
                    done[id(picks)] = known[key]
                out[(o * len(sources) + k) * inner + i] = done[id(picks)]
        if len({id(picks) for picks in sources}) == 1:  # every index holds the same
            out = [out[o * len(sources) * inner + i] for o, i in product(range(outer), range(inner))]
            return Field.of(shape, out, (*self.stored[:dim], 1, *self.stored[dim + 1 :]))
        return Field.of(shape, out, (*self.stored[:dim], len(sources), *self.stored[dim + 1 :]))


def _places(shape: Sequence[int], strides: Sequence[int]) -> Iterable[int]:
    """Where the entries of a strided view lie, row-major."""
    found = [0]
    for n, stride in zip(shape, strides, strict=True):
        found = [at + i * stride for at in found for i in range(n)]
    return found


Runs = list[tuple[list[int], list[int]]]
"""Runs of old and new dimensions with equal products, in order."""


def runs(old: Sequence[int], new: Sequence[int]) -> Runs:
    """The shortest runs of old and new dimensions with equal products, in order. The products must be equal in all."""
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


@dataclass(frozen=True)
class Lookup:
    """One cell dimension: output index o reads operand indices `reads[o]` within `[0, n_in)`.

    `reads=None`: everything reads everything. The table is made only where cells differ.
    """

    reads: IndexMap | None
    n_in: int
    n_out: int

    @cached_property
    def table(self) -> Sequence[Sequence[int]]:
        if self.reads is None:
            return (range(self.n_in),) * self.n_out
        if self.reads.period == 1 and len(self.reads.phases[0].parts) == 1:
            ((low, high),) = self.reads.phases[0].parts
            step = self.reads.advance
            return [range(max(0, low + o * step), min(self.n_in, high + o * step)) for o in range(self.n_out)]
        shared: dict[tuple[int, ...], tuple[int, ...]] = {}
        rows = []
        for o in range(self.n_out):
            row = tuple(self.reads[o].clip(0, self.n_in).indices())
            rows.append(shared.setdefault(row, row))
        return rows

    @cached_property
    def identity(self) -> bool:
        return self.n_in == self.n_out and (
            self.reads is IndexMap.identity()
            or self.reads == IndexMap.identity()
            or (self.n_in == 1 and self.reads is None)
        )

    @cached_property
    def total(self) -> bool:
        return self.reads is None or self.identity or all(self.table)

    @cached_property
    def onto(self) -> bool:
        if self.reads is None or self.identity:
            return True
        return self.reads.over(Spans.span(0, self.n_out)).clip(0, self.n_in) == Spans.span(0, self.n_in)


@dataclass(frozen=True)
class Pairing:
    """How the cells of an output depend on the cells of one operand, dimension by dimension.

    Each pair is (operand dimension or None, output dimension or None, lookup): output index i reads operand
    indices `lookup.table[i]`; a dimension that is missing on one side has one index there. Every cell dimension of
    both tensors stands in exactly one pair. `flat`: instead, cells correspond in row-major order.
    """

    shape_in: tuple[int, ...]
    shape_out: tuple[int, ...]
    pairs: tuple[tuple[int | None, int | None, Lookup], ...]
    flat: bool = False

    @cached_property
    def same(self) -> bool:
        """Cells correspond one to one, in place."""
        return self.shape_in == self.shape_out and all(s == t and table.identity for s, t, table in self.pairs)

    @cached_property
    def total(self) -> bool:
        """No output cell reads nothing."""
        return all(table.total for _, _, table in self.pairs)

    @cached_property
    def onto(self) -> bool:
        """No operand cell is left unread."""
        return all(table.onto for _, _, table in self.pairs)

    def sources(self, cell: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        """The operand cells that one output cell reads."""
        if self.flat:
            place = 0
            for i, n in zip(cell, self.shape_out, strict=True):
                place = place * n + i
            found = []
            for n in reversed(self.shape_in):
                place, i = divmod(place, n)
                found.append(i)
            yield tuple(reversed(found))
            return
        picks = [lookup.table[0 if t is None else cell[t]] for _, t, lookup in self.pairs]
        for chosen in product(*picks):
            at = {s: i for (s, _, _), i in zip(self.pairs, chosen, strict=True)}
            yield tuple(at[s] for s in range(len(self.shape_in)))

    def gather(self, field: Field[T], join: Callable[[T, T], T], empty: T) -> Field[T]:
        """Each output cell gets the join of the operand cells that it reads."""
        if self.flat:
            return field.regrouped(self.shape_out)
        if self.same:
            return field
        if field.uniform and self.total:
            return Field.one(self.shape_out, field.values[0])
        tables = [lookup.table for _, _, lookup in self.pairs]
        sides = [(s, t) for s, t, _ in self.pairs]
        return _through(field, sides, tables, self.shape_out, join, empty)

    def scatter(self, field: Field[T], join: Callable[[T, T], T], empty: T) -> Field[T]:
        """Each operand cell gets the join of the output cells that read it."""
        if self.flat:
            return field.regrouped(self.shape_in)
        if self.same:
            return field
        if field.uniform and self.onto:
            return Field.one(self.shape_in, field.values[0])
        tables: list[Sequence[Sequence[int]]] = []
        for s, _, lookup in self.pairs:
            if lookup.reads is None:
                tables.append((range(lookup.n_out),) * lookup.n_in)
                continue
            readers: list[list[int]] = [[] for _ in range(1 if s is None else self.shape_in[s])]
            for o, picks in enumerate(lookup.table):
                for p in picks:
                    readers[p].append(o)
            tables.append(readers)
        sides = [(t, s) for s, t, _ in self.pairs]
        return _through(field, sides, tables, self.shape_in, join, empty)


def _through(
    field: Field[T],
    sides: list[tuple[int | None, int | None]],
    tables: Iterable[Sequence[Sequence[int]]],
    shape: tuple[int, ...],
    join: Callable[[T, T], T],
    empty: T,
) -> Field[T]:
    """Bring the dimensions into the order of the pairs, send each through its table, and into the order wanted."""
    order = [a for a, _ in sides if a is not None]
    field = field.transposed(order)
    sizes, stored = iter(field.shape), iter(field.stored)
    field = Field(
        tuple(1 if a is None else next(sizes) for a, _ in sides),
        field.values,
        tuple(1 if a is None else next(stored) for a, _ in sides),
    )
    for d, table in enumerate(tables):
        field = field.along(d, table, join, empty)
    kept = [b for _, b in sides if b is not None]
    left = [d for d, (_, b) in enumerate(sides) if b is not None]
    field = Field(tuple(field.shape[d] for d in left), field.values, tuple(field.stored[d] for d in left))
    field = field.transposed([kept.index(t) for t in range(len(kept))])
    assert field.shape == shape, (field.shape, shape)
    return field
