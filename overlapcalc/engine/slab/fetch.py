"""What a region reads of its operands, cut out of their slabs and filled beyond the image."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from ...algebra.spans import Span, Spans
from ...errors import NoSlabError
from ...ops import Call
from ...ops.graph import Node
from ...propagate.regions import Region
from ...trace.runnable import Invocation
from .frame import FAR, Frame, SlabTensor, dims_of, extents, label_of, shaped
from .memory import memory


class Reader:
    """The part of a call on a slab that fetches what it reads. last: operands that nobody reads after this call; spare:
    those of them whose memory may be overwritten (see spare.py)."""

    def __init__(
        self,
        frame: Frame,
        node: Node,
        invocation: Invocation | None,
        region: Region,
        operands: Mapping[str, SlabTensor],
        last: Collection[str] = (),
        spare: frozenset[str] = frozenset(),
    ) -> None:
        self.frame, self.node, self.invocation, self.region = frame, node, invocation, region
        self.spare, self._last = spare, last
        self._operands = {name: operands[name] for name in node.operands if name in operands}
        self._freed = set[str]()
        self._memories = [(memory(x.tensor), x.own, name in spare) for name, x in self._operands.items()]
        self.layout = frame.value(node.name).layout
        self.call = Call(node, tuple(dims_of(frame.value(name).layout) for name in node.operands))

    def fetch(
        self,
        operand: int = 0,
        spans: Mapping[int, Span] | None = None,
        *,
        fill: float | str = 0.0,
        last: bool = False,
    ) -> Tensor:
        name = self.node.operands[operand]
        held, layout = self._held(name), self.frame.value(name).layout
        asked = {label_of(layout, dim): span for dim, span in (spans or {}).items()}
        parts = shaped(held.tensor, [held.extent(layout, i) for i in range(len(layout.parts))])
        region = dict(held.region)
        for i, label in enumerate(layout.labels):
            if label in region and label in self.region:
                read = self._read(name, label)
                region[label] = asked.get(label, read)
                parts = self._along(parts, i, held.at(label), region[label], read, layout.sizes[i], fill)
        if last and name in self._last:
            self._freed.add(name)
            self._operands.pop(name)
        return shaped(parts, extents(layout, region))

    def picked(self, places: Mapping[int, Sequence[int]], operand: int = 0, *, fill: float | str = 0.0) -> Tensor:
        layout = self.frame.value(self.node.operands[operand]).layout
        held = self._held(self.node.operands[operand])
        covers: dict[int, list[Span]] = {}
        for d, at in places.items():
            label = label_of(layout, d)
            if label in self.region:
                covers[d] = _covering(at, held.at(label))
        x = self._assembled(operand, list(covers.items()), {}, fill)
        for d, at in places.items():
            here = [i for span in covers[d] for i in range(*span)] if d in covers else list(range(x.shape[d]))
            if list(at) != here:
                rank = {i: k for k, i in enumerate(here)}
                x = x.index_select(d, torch.tensor([rank[i] for i in at], device=x.device))
        return x

    def _assembled(
        self, operand: int, covers: Sequence[tuple[int, list[Span]]], spans: Mapping[int, Span], fill: float | str
    ) -> Tensor:
        """Several spans along each of some dimensions, fetched one by one and laid end to end."""
        if not covers:
            return self.fetch(operand, spans, fill=fill)
        (d, listed), rest = covers[0], covers[1:]
        pieces = [self._assembled(operand, rest, {**spans, d: span}, fill) for span in listed]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, d)

    def nothing(self, operand: int, dim: int) -> Tensor:
        name = self.node.operands[operand]
        held, label = self._held(name), label_of(self.frame.value(name).layout, dim)
        spans = {}
        if label in held.region:  # where an operand stands twice in a call, what is read may begin before what is held
            first = held.at(label).parts[0][0]
            spans[dim] = Span(first, first + 1)
        return self.fetch(operand, spans).narrow(dim, 0, 0)

    def is_whole(self, operand: int, dim: int) -> bool:
        name = self.node.operands[operand]
        layout = self.frame.value(name).layout
        label, size = label_of(layout, dim), dims_of(layout)[dim]
        held = self._held(name).region.get(label)
        out = self.frame.net.size(self.node.name, label)
        whole = held == Span(0, size) and label not in self._held(name).spans
        return whole and out is not None and self.region.get(label) == Span(0, out)

    def begins(self, operand: int, dim: int) -> int:
        name = self.node.operands[operand]
        return self._read(name, label_of(self.frame.value(name).layout, dim)).start

    def none(self, why: str) -> NoSlabError:
        where = self.frame.net.names.get(self.node.name) or self.node.layer or self.node.name
        text = (
            f"{where}: {self.node.called} {why}, so it cannot be run on a slab; the schedule crop runs the net as it is"
        )
        return NoSlabError(text, self.node.name)

    def _read(self, operand: str, label: str) -> Span:
        """The hull of what the region reads of an operand along an axis, including beyond its ends."""
        found: Span | None = None
        for path in self.frame.value(self.node.name).paths:
            if path.operand != operand:
                continue
            if label in path.obstructed:  # an axis that is not cut
                return self._held(operand).region[label]
            if label not in path.axes:
                continue
            hull = path.axes[label].reads.reads(*self.region[label])
            if hull is not None:
                found = hull if found is None else Span(min(found.start, hull.start), max(found.stop, hull.stop))
        if found is None:  # nothing: any sample will do
            start = self._held(operand).region[label].start
            return Span(start, start + 1)
        return found

    def _held(self, operand: str) -> SlabTensor:
        """The part of an operand that is present. One of which nothing is read is placed far beyond the image."""
        held = self._operands.get(operand)
        if held is not None:
            return held
        if operand in self._freed:
            raise AssertionError(f"{self.node.name} reads {operand}, which it has freed")
        layout = self.frame.value(operand).layout
        region = {part.label: Span(FAR, FAR + 1) for part in layout.parts if part.is_axis}
        nothing = self.frame.like.sum()  # zero, and data
        return SlabTensor(nothing.expand(extents(layout, region)), region)

    def _along(self, x: Tensor, d: int, has: Spans, wanted: Span, read: Span, size: int, fill: float | str) -> Tensor:
        """`x`, which holds the spans `has` along d one after the other, as the span `wanted`: cut, filled beyond the
        image, NaN where it holds nothing."""
        if has.parts == ((wanted.start, wanted.stop),):
            return x
        first = has.parts[0][0]
        if first == FAR:  # none of it is read along some axis: the result reads only the fill
            made = _full(x, d, wanted.length, 0.0 if isinstance(fill, str) else fill)
            return torch.cat([x.narrow(d, 0, 0), made], d)
        edges = sorted({0, size, read.start, read.stop, wanted.stop, *(edge for part in has.parts for edge in part)})
        pieces, at = [], wanted.start
        while at < wanted.stop:
            place = _place(has, at)
            if at < 0 or at >= size:
                stop = min(wanted.stop, 0) if at < 0 else wanted.stop
                if isinstance(fill, str):
                    pieces.append(self._mirrored(x, d, has, [_folded(i, size, fill) for i in range(at, stop)]))
                else:
                    pieces.append(_full(x, d, stop - at, fill))
            elif place is not None:
                stop = min(wanted.stop, next(b for a, b in has.parts if a <= at < b))
                pieces.append(x.narrow(d, place, stop - at))
            else:
                stop = next(edge for edge in edges if edge > at)
                pieces.append(_full(x, d, stop - at, self._missing(x, read, at)))
            at = stop
        if len(pieces) == 1 and _place(has, wanted.start) is None:
            pieces.insert(0, x.narrow(d, 0, 0))  # a result made of padding alone is data too, for its twin
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, d)

    def _mirrored(self, x: Tensor, d: int, has: Spans, places: list[int]) -> Tensor:
        """The samples of the image that mirror positions beyond its end, one by one."""
        found = [_place(has, i) for i in places]
        y = x.index_select(d, torch.tensor([at or 0 for at in found], device=x.device))
        for i, at in enumerate(found):
            if at is None:
                y.narrow(d, i, 1).fill_(self._missing(x, Span(places[i], places[i] + 1), places[i]))
        return y

    def _missing(self, x: Tensor, read: Span, position: int) -> float:
        """The value of a sample of the image that the slab does not hold; 0 where it is not read at all."""
        if position not in read:
            return 0.0
        poison = self.frame.poison
        if poison is None:
            raise AssertionError(f"{self.node.name} reads {position}, which its operand's slab does not hold")
        if x.is_floating_point() or x.is_complex():
            return poison
        if poison != poison:
            raise self.none("reads whole numbers across an artificial border")
        return int(poison > 0)


def _place(has: Spans, at: int) -> int | None:
    """Where position `at` is among spans laid end to end; None where it is in none of them."""
    before = 0
    for a, b in has.parts:
        if a <= at < b:
            return before + at - a
        before += b - a
    return None


def _covering(places: Sequence[int], has: Spans) -> list[Span]:
    """For each span that is there, the shortest one in it with all of these places that it holds; the hull of all
    places where one lies in none.

    >>> [str(span) for span in _covering([8, 9, 0, 1], Spans.of([(0, 4), (7, 10)]))]
    ['[0, 2)', '[8, 10)']
    """
    found = []
    for a, b in has.parts:
        inside = [i for i in places if a <= i < b]
        if inside:
            found.append(Span(min(inside), max(inside) + 1))
    if all(any(i in span for span in found) for i in (min(places), max(places))) and all(i in has for i in places):
        return found
    return [Span(min(places), max(places) + 1)]


def _full(x: Tensor, d: int, length: int, fill: float) -> Tensor:
    shape = list(x.shape)
    shape[d] = length
    return x.new_full(shape, fill)


def _folded(i: int, size: int, how: str) -> int:
    """The sample that position i beyond the ends of `[0, size)` repeats or mirrors.

    >>> _folded(-2, 8, "reflect"), _folded(9, 8, "replicate")
    (2, 7)
    >>> _folded(-2, 8, "symmetric"), _folded(9, 8, "symmetric")
    (1, 6)
    """
    if how == "replicate":
        return min(max(i, 0), size - 1)
    by = 0 if how == "reflect" else 1
    i = -i - by if i < 0 else i
    return 2 * (size - 1) + by - i if i >= size else i
