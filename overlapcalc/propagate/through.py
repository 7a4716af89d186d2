"""Reads, sent through a path: from those of an operand to those of an operator's output."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod

from ..algebra.cell_map import CellMap, DimMap
from ..algebra.cells import Field
from ..algebra.index_map import IndexMap
from ..algebra.reshape import CELL, Factoring
from ..algebra.spans import EMPTY, Spans
from ..errors import RuleError
from ..ops.border import Border
from ..ops.law import CellReads, DimRead, Link
from .values import MADE, NOTHING, InputAxis, InputReads, Obstacle, Path, Reads, joined_reads

SOMETHING = IndexMap.identity()
"""Stands for any reads where only their obstacles count."""


@dataclass(frozen=True)
class Composer:
    """Sends reads through paths, cell by cell. known: one object per value, so that channels which read the same are
    recognised by identity. only_via: only whether anything is read, and behind which obstacles: tables of different
    lengths have no composition of a length worth having.
    """

    slots: tuple[InputAxis, ...]
    known: dict[InputReads, InputReads] = field(default_factory=dict)
    only_via: bool = False

    @property
    def nothing(self) -> InputReads:
        return (NOTHING,) * len(self.slots)

    def join(self, a: InputReads, b: InputReads) -> InputReads:
        """The reads of two cells together."""
        out = joined_reads(a, b)
        return self.known.setdefault(out, out)

    def through(self, path: Path, operand: Field[InputReads]) -> Field[InputReads]:
        gathered = path.cells.gather(operand, self.join, self.nothing)

        def step(cell: InputReads) -> InputReads:
            out = self._step(path, cell)
            return self.known.setdefault(out, out)

        return gathered.map(step)

    def _step(self, path: Path, cell: InputReads) -> InputReads:
        out: list[Reads] = []
        silent: set[str] = set()
        loose: set[InputAxis] = set()
        for slot, reads in zip(self.slots, cell, strict=True):
            inp, axis = slot
            if not reads and not reads.made:
                out.append(NOTHING)
            elif axis in path.obstructed:
                out.append(Reads(via=reads.via | {path.obstructed[axis]}, made=reads.made))
            elif axis in path.axes and reads.reads is not None:
                own = path.axes[axis].reads
                if self.only_via and not own.empty:
                    out.append(Reads(SOMETHING, None, reads.via, made=reads.made))
                    continue
                state = path.states.get(axis)
                if state is not None and not reads.reads.empty:
                    out.append(_with_state(reads, state))
                    continue
                hulls = own.hull_after(reads.reads)
                if hulls.empty:
                    if reads.via:  # all that was read here may lie behind the obstacle
                        loose.add(slot)
                    else:
                        silent.add(inp)
                    out.append(Reads(via=reads.via, made=reads.made))
                    continue
                same = reads.sure is reads.reads
                sure = hulls if same else own.hull_after(reads.sure) if reads.sure is not None else None
                if reads.hidden and own.skips:
                    loose.add(slot)
                if not path.exact or (sure is not None and sure.empty):
                    sure = None
                out.append(Reads(hulls, sure, reads.via, reads.hidden, reads.made, reads.carried))
            elif reads.reads is not None:
                raise RuleError(f"the axis {axis} of {inp} was lost without an obstacle behind {path.operand}")
            else:
                out.append(reads)
        if silent:  # a path that reads nothing along one axis reads nothing at all
            none = {True: MADE, False: NOTHING}
            out = [
                none[r.made] if slot[0] in silent and not r.via else r for slot, r in zip(self.slots, out, strict=True)
            ]
        for inp, axis in loose:  # rows that a strided operator skips may be the only ones to read these columns
            out = [
                replace(r, sure=None) if slot[0] == inp and slot[1] != axis else r
                for slot, r in zip(self.slots, out, strict=True)
            ]
        return tuple(out)


def _with_state(reads: Reads, state: Obstacle) -> Reads:
    """What an operator reads that takes in an operand's samples one by one, and carries a state on."""
    assert reads.reads is not None
    every = accumulated(reads.reads)
    same = reads.sure is reads.reads
    sure = every if same else None if reads.sure is None or reads.sure.empty else accumulated(reads.sure)
    return replace(reads, reads=every, sure=sure, hidden=False, carried=reads.carried | {state})


def accumulated(reads: IndexMap) -> IndexMap:
    """The map whose output o reads as far as any output up to and with o does. Where its hulls start says nothing.

    >>> uneven = IndexMap(2, 2, (Spans.span(0, 5), Spans.span(1, 2)))  # the second of two phases reads less far
    >>> accumulated(uneven).reads(1, 2).stop
    5
    """
    stop: int | None = None
    phases: list[Spans] = []
    for o in range(-reads.period, reads.period):  # an earlier period reads less far
        hull = reads[o].hull
        if hull is not None:
            stop = hull.stop if stop is None else max(stop, hull.stop)
        if o >= 0:
            start = stop - 1 if hull is None and stop is not None else hull.start if hull is not None else 0
            phases.append(EMPTY if stop is None else Spans.span(start, stop))
    return IndexMap(reads.period, reads.advance, tuple(phases)).reduced()


def paired(link: Link, operand: Factoring, out: Factoring) -> CellMap:
    """How the cells of an output depend on those of an operand by one link, both in terms of parts."""
    place_in, place_out = cell_places(operand.labels), cell_places(out.labels)
    cells_in, cells_out = operand.cells, out.cells
    if link.cells is CellReads.REGROUP and prod(cells_in) == prod(cells_out):
        return CellMap(cells_in, cells_out, (), flat=True)
    pairs: list[tuple[int | None, int | None, DimMap]] = []
    seen: set[int] = set()
    for dim in link.dims:
        s = place_in.get(dim.source) if dim.source is not None else None
        t = place_out.get(dim.target) if dim.target is not None else None
        if s is None and t is None:
            continue
        if t is not None:
            seen.add(t)
        n_in = cells_in[s] if s is not None else 1
        n_out = cells_out[t] if t is not None else 1
        mixed = (
            link.cells is not CellReads.DIMS
            or (dim.source is not None and s is None)
            or (dim.target is not None and t is None)
        )
        pairs.append((s, t, DimMap(None if mixed else _folded(dim, n_in, n_out), n_in, n_out)))
    pairs += [(None, t, DimMap(None, 1, n)) for t, n in enumerate(cells_out) if t not in seen]
    return CellMap(cells_in, cells_out, tuple(pairs))


def _folded(dim: DimRead, n_in: int, n_out: int) -> IndexMap | None:
    """What is read along cells, folded back at their ends as the border says."""
    if dim.reads is None or dim.border is Border.CONSTANT:
        return dim.reads
    everything = dim.reads.over(Spans.span(0, n_out))
    if everything.clip(0, n_in) == everything:
        return dim.reads
    return IndexMap.table([list(dim.border.fold(dim.reads[o], n_in)[0].indices()) for o in range(n_out)])


def cell_places(labels: tuple[str, ...]) -> dict[int, int]:
    """Index of a part -> its index among the parts that are cells.

    >>> cell_places(("", "", "H", ""))
    {0: 0, 1: 1, 3: 2}
    """
    return {d: k for k, d in enumerate(d for d, label in enumerate(labels) if label == CELL)}
