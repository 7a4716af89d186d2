"""The path that sets one side of a context: from an output sample back to the first or the last input sample.

A chain of (tensor, cell, sample), each really read by the one before it. What a tensor reads is known by hulls, and
the hull of a union is the hull of the hulls. So at every operator some operand, cell and sample attain the end of
the hull, and following them back leads to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from ..algebra.cells import Field
from ..algebra.index_map import IndexMap
from ..errors import RuleError
from .values import InputAxis, InputReads, Path, Propagation, joined_reads


@dataclass(frozen=True)
class Hop:
    """One tensor on the path: the sample, in one cell, through which the extreme input sample is read.

    others: other operands of this operator that reach as far. tied: whether any other operand or sample does.
    """

    node: str
    cell: tuple[int, ...]
    sample: int
    others: tuple[str, ...] = ()
    tied: bool = False


@dataclass(frozen=True)
class CriticalPath:
    """Hops from the output to the input; tied: whether other output samples read as far."""

    hops: tuple[Hop, ...]
    tied: bool


def critical_path(
    net: Propagation, output: str, slot: InputAxis, outputs: range, *, after: bool, sure: bool
) -> CriticalPath | None:
    """From node `output` back to the input of `slot`, or None where `outputs` read nothing of it.

    Ends at the first sample that `outputs` read, or at the last one with `after`. sure: only along reads that are
    known to be real, which is possible where that side is exact. Ties go to the sample nearest to the block's edge,
    the first operand, the outermost sample, the first cell.
    """
    walk = _Walk(net, slot, after, sure)
    here, start_tied = walk.start(output, outputs)
    if here is None:
        return None
    way: list[Hop] = []
    while net.graph[here.node].op != "input":
        found = walk.choices(here)
        chosen = found[0]
        others = tuple(dict.fromkeys(c.node for c in found if c.node != chosen.node))
        tied = any((c.node, c.sample) != (chosen.node, chosen.sample) for c in found)
        way.append(Hop(here.node, here.cell, here.sample, others, tied))
        here = chosen
    return CriticalPath((*way, here), start_tied)


class _Walk:
    """One walk: to which input and axis, towards which end, along which reads."""

    def __init__(self, net: Propagation, slot: InputAxis, after: bool, sure: bool) -> None:
        self.net, self.slot, self.after, self.sure = net, slot, after, sure
        self.place = net.slots.index(slot)

    def known(self, reads: InputReads) -> IndexMap | None:
        along = reads[self.place]
        return along.sure if self.sure else along.reads

    def end(self, reads: IndexMap | None, sample: int) -> int | None:
        """The extreme input sample that one sample reads."""
        hull = reads[sample].hull if reads is not None else None
        return None if hull is None else hull.stop - 1 if self.after else hull.start

    def farther(self, a: int, b: int) -> bool:
        return a > b if self.after else a < b

    def start(self, output: str, outputs: range) -> tuple[Hop | None, bool]:
        """The sample nearest to the block's edge that attains the extreme, and whether others do, too."""
        best: tuple[int, tuple[int, ...], int] | None = None
        tied = False
        cells = dict(_distinct(self.net.values[output].cells))
        for sample in reversed(outputs) if self.after else outputs:
            for cell, reads in cells.items():
                end = self.end(self.known(reads), sample)
                if end is None:
                    continue
                if best is None or self.farther(end, best[0]):
                    best, tied = (end, cell, sample), False
                elif end == best[0] and sample != best[2]:
                    tied = True
        return (None if best is None else Hop(output, best[1], best[2])), tied

    def choices(self, here: Hop) -> list[Hop]:
        """The operands' samples that `here` reads and that read the extreme; the one to follow comes first."""
        value = self.net.values[here.node]
        goal = self.end(self.known(value.cells.at(here.cell)), here.sample)
        found: list[Hop] = []
        for path in value.paths:
            if self.slot[1] not in path.axes or (self.sure and not path.exact):
                continue
            cells = self._cells(path, here.cell)
            if not cells or not self._real(path, cells):
                continue
            samples = list(path.axes[self.slot[1]].reads[here.sample].indices())
            for sample, (cell, reads) in product(reversed(samples) if self.after else samples, cells):
                if self.end(self.known(reads), sample) == goal:
                    found.append(Hop(path.operand, cell, sample))
        if not found:
            raise RuleError(
                f"{self.net.names.get(here.node, here.node)}: no operand reads sample {goal} of {self.slot[0]} along "
                f"{self.slot[1]} as its rule says; this is a defect of overlapcalc"
            )
        return found

    def _cells(self, path: Path, cell: tuple[int, ...]) -> list[tuple[tuple[int, ...], InputReads]]:
        """The operand's cells that the cell reads, one for each distinct value."""
        field = self.net.values[path.operand].cells
        sources = path.cells.sources(cell)
        if field.uniform:
            first = next(sources, None)
            return [] if first is None else [(first, field.values[0])]
        known: dict[int, tuple[tuple[int, ...], InputReads]] = {}
        for source in sources:
            reads = field.at(source)
            known.setdefault(id(reads), (source, reads))
        return list(known.values())

    def _real(self, path: Path, cells: list[tuple[tuple[int, ...], InputReads]]) -> bool:
        """Whether the path continues along the other axes too: one that reads no row reads no column either."""
        total = cells[0][1]
        for _, reads in cells[1:]:
            total = joined_reads(total, reads)
        for slot, along in zip(self.net.slots, total, strict=True):
            if slot[0] != self.slot[0] or slot[1] not in path.axes or along.reads is None:
                continue
            own = path.axes[slot[1]].reads
            holes = not all(own.phases) or not all(along.reads.phases)
            if holes and not along.via and own.hull_after(along.reads).empty:
                return False
            if self.sure and slot != self.slot and along.hidden and own.skips:
                return False
        return True


def _distinct(field: Field[InputReads]) -> Iterator[tuple[tuple[int, ...], InputReads]]:
    """The first cell of each distinct value."""
    seen: set[int] = set()
    for cell in product(*(range(n) for n in field.shape)):
        reads = field.at(cell)
        if id(reads) not in seen:
            seen.add(id(reads))
            yield cell, reads
        if len(seen) == 1 and field.uniform:
            return
