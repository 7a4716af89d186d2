"""What a region reads of its operands, cut out of their slabs and filled beyond the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...algebra.spans import Span
from ...errors import NoSlabError
from ...ops import Call
from ...ops.graph import Node
from ...propagate.regions import Region
from ...trace.runnable import Invocation
from .frame import FAR, Frame, SlabTensor, dims_of, extent, extents, label_of


class Reader:
    """The part of a call on a slab that fetches what it reads."""

    def __init__(
        self,
        frame: Frame,
        node: Node,
        invocation: Invocation | None,
        region: Region,
        operands: Mapping[str, SlabTensor],
    ) -> None:
        self.frame, self.node, self.invocation, self.region = frame, node, invocation, region
        self._operands = operands
        self.layout = frame.value(node.name).layout
        self.call = Call(node, tuple(dims_of(frame.value(name).layout) for name in node.operands))

    def fetch(self, operand: int = 0, spans: Mapping[int, Span] | None = None, *, fill: float | str = 0.0) -> Tensor:
        name = self.node.operands[operand]
        held, layout = self._held(name), self.frame.value(name).layout
        asked = {label_of(layout, dim): span for dim, span in (spans or {}).items()}
        parts = held.tensor.reshape([extent(layout, i, held.region) for i in range(len(layout.parts))])
        region = dict(held.region)
        for i, label in enumerate(layout.labels):
            if label in region and label in self.region:
                read = self._read(name, label)
                region[label] = asked.get(label, read)
                parts = self._along(parts, i, held.region[label], region[label], read, layout.sizes[i], fill)
        return parts.reshape(extents(layout, region))

    def picked(self, places: Mapping[int, Sequence[int]], operand: int = 0, *, fill: float | str = 0.0) -> Tensor:
        layout = self.frame.value(self.node.operands[operand]).layout
        hulls = {d: Span(min(at), max(at) + 1) for d, at in places.items() if label_of(layout, d) in self.region}
        x = self.fetch(operand, hulls, fill=fill)
        for d, at in places.items():
            begins = hulls[d].start if d in hulls else 0
            if list(at) != list(range(begins, begins + x.shape[d])):
                x = x.index_select(d, torch.tensor([i - begins for i in at], device=x.device))
        return x

    def nothing(self, operand: int, dim: int) -> Tensor:
        return self.fetch(operand).narrow(dim, 0, 0)

    def is_whole(self, operand: int, dim: int) -> bool:
        name = self.node.operands[operand]
        layout = self.frame.value(name).layout
        label, size = label_of(layout, dim), dims_of(layout)[dim]
        held = self._held(name).region.get(label)
        out = self.frame.net.size(self.node.name, label)
        return held == Span(0, size) and out is not None and self.region.get(label) == Span(0, out)

    def begins(self, operand: int, dim: int) -> int:
        name = self.node.operands[operand]
        return self._read(name, label_of(self.frame.value(name).layout, dim)).start

    def none(self, why: str) -> NoSlabError:
        where = self.frame.net.names.get(self.node.name) or self.node.layer or self.node.name
        return NoSlabError(
            f"{where}: {self.node.called} {why}, so it cannot be run on a slab; the schedule crop runs the net as it is"
        )

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
        layout = self.frame.value(operand).layout
        region = {part.label: Span(FAR, FAR + 1) for part in layout.parts if part.is_axis}
        nothing = self.frame.like.sum()  # zero, and data
        return SlabTensor(nothing.expand(extents(layout, region)), region)

    def _along(self, x: Tensor, d: int, has: Span, wanted: Span, read: Span, size: int, fill: float | str) -> Tensor:
        """`x`, which holds the span `has` along d, as the span `wanted`: cut, filled beyond the image, NaN where it
        holds nothing."""
        if wanted == has:
            return x
        if has.start == FAR:  # none of it is read along some axis: the result reads only the fill
            made = _full(x, d, wanted.length, 0.0 if isinstance(fill, str) else fill)
            return torch.cat([x.narrow(d, 0, 0), made], d)
        pieces, at = [], wanted.start
        while at < wanted.stop:
            if at < 0 or at >= size:
                stop = min(wanted.stop, 0) if at < 0 else wanted.stop
                if isinstance(fill, str):
                    pieces.append(self._mirrored(x, d, has, [_folded(i, size, fill) for i in range(at, stop)]))
                else:
                    pieces.append(_full(x, d, stop - at, fill))
            elif has.start <= at < has.stop:
                stop = min(wanted.stop, has.stop)
                pieces.append(x.narrow(d, at - has.start, stop - at))
            else:
                edges = (0, size, has.start, has.stop, read.start, read.stop, wanted.stop)
                stop = min(edge for edge in edges if edge > at)
                pieces.append(_full(x, d, stop - at, self._missing(x, read, at)))
            at = stop
        if len(pieces) == 1 and not has.start <= wanted.start < has.stop:
            pieces.insert(0, x.narrow(d, 0, 0))  # a result made of padding alone is data too, for its twin
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, d)

    def _mirrored(self, x: Tensor, d: int, has: Span, places: list[int]) -> Tensor:
        """The samples of the image that mirror positions beyond its end, one by one."""
        inside = [i in has for i in places]
        index = torch.tensor(
            [i - has.start if here else 0 for i, here in zip(places, inside, strict=True)], device=x.device
        )
        y = x.index_select(d, index)
        for i, here in enumerate(inside):
            if not here:
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


def _full(x: Tensor, d: int, length: int, fill: float) -> Tensor:
    shape = list(x.shape)
    shape[d] = length
    return x.new_full(shape, fill)


def _folded(i: int, size: int, how: str) -> int:
    """The sample that position i beyond the ends of `[0, size)` repeats or mirrors.

    >>> _folded(-2, 8, "reflect"), _folded(9, 8, "replicate")
    (2, 7)
    """
    if how == "replicate":
        return min(max(i, 0), size - 1)
    i = -i if i < 0 else i
    return 2 * (size - 1) - i if i >= size else i
