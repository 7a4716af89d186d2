"""How the cells of one tensor depend on those of another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TypeVar

from .cells import Field
from .index_map import IndexMap
from .spans import Spans

T = TypeVar("T")


@dataclass(frozen=True)
class DimMap:
    """One cell dimension: output index o reads operand indices `reads[o]` within `[0, n_in)`.

    `reads=None`: everything reads everything. The table is built only where cells differ.

    >>> list(map(list, DimMap(IndexMap.window(2, stride=2), 4, 2).table))  # a convolution of 4 channels in 2 groups
    [[0, 1], [2, 3]]
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
class CellMap:
    """How the cells of an output depend on the cells of one operand, dimension by dimension.

    Each pair is (operand dimension or None, output dimension or None, dim_map): output index i reads operand
    indices `dim_map.table[i]`; a dimension that is missing on one side has one index there. Every cell dimension of
    both tensors appears in exactly one pair. `flat`: instead, cells correspond in row-major order.

    >>> swap = CellMap((2,), (2,), ((0, 0, DimMap(IndexMap.table([[1], [0]]), 2, 2)),))
    >>> list(swap.sources((0,)))
    [(1,)]
    """

    shape_in: tuple[int, ...]
    shape_out: tuple[int, ...]
    pairs: tuple[tuple[int | None, int | None, DimMap], ...]
    flat: bool = False

    @cached_property
    def same(self) -> bool:
        """Cells correspond one to one, in place."""
        return self.shape_in == self.shape_out and all(s == t and table.identity for s, t, table in self.pairs)

    @cached_property
    def total(self) -> bool:
        """Every output cell reads something."""
        return all(table.total for _, _, table in self.pairs)

    @cached_property
    def onto(self) -> bool:
        """Every operand cell is read."""
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
        picks = [dim_map.table[0 if t is None else cell[t]] for _, t, dim_map in self.pairs]
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
        tables = [dim_map.table for _, _, dim_map in self.pairs]
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
        for s, _, dim_map in self.pairs:
            if dim_map.reads is None:
                tables.append((range(dim_map.n_out),) * dim_map.n_in)
                continue
            readers: list[list[int]] = [[] for _ in range(1 if s is None else self.shape_in[s])]
            for o, picks in enumerate(dim_map.table):
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
    """Bring the dimensions into the order of the pairs, send each through its table, and restore the output's order."""
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
