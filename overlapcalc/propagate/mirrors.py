"""Tensors that hold the mirror image of their input along an axis: between two flips, say.

Such a tensor is followed from its other end, in which it is local like any other; its samples are counted from there.
That holds where every way from an input to an output has an even number of flips. The end that it counts from moves
with the length, so such maps hold at lengths that differ by multiples of the step; tiles are of such lengths.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from ..algebra.index_map import IndexMap
from ..algebra.reshape import CELL, LOST, Factoring
from ..algebra.spans import Spans
from ..ops.graph import STEPS, Node
from ..ops.law import DimRead, Law, Link


class Mirrors:
    """of: which tensors are mirrored, and along which axes, while a net is followed.

    never: axes along which none may be. torn: axes along which one meets what is not mirrored, or an operator whose
    mirror image is not known.
    """

    def __init__(self, never: Collection[str] = ()) -> None:
        self._never = never
        self.of: dict[str, frozenset[str]] = {}
        self.torn: set[str] = set()

    def law(self, node: Node, law: Law, out: Factoring, layouts: Mapping[str, Factoring]) -> Law:
        """The law of a call, its tensors counted from the ends that they are followed from. out: the parts of the
        result. layouts: of the operands."""
        flips = any(dim.mirrors for link in law.links for dim in link.dims)
        if not flips and not self.of.keys() & set(node.operands):
            return law
        found: dict[str, set[bool]] = {}
        links = tuple(
            self._link(node, link, law, out, layouts[node.operands[link.operand]], found) for link in law.links
        )
        self.torn |= {axis for axis, ways in found.items() if len(ways) > 1}
        turned = frozenset(axis for axis, ways in found.items() if True in ways)
        if turned:
            self.of[node.name] = turned
        far = {
            dim.target
            for link in law.links
            for dim in link.dims
            if dim.source is not None and layouts[node.operands[link.operand]].labels[dim.source] in turned
        }
        margins = tuple((d, after, before) if d in far else (d, before, after) for d, before, after in law.margins)
        return replace(law, links=links, margins=margins)

    def _link(
        self, node: Node, link: Link, law: Law, out: Factoring, operand: Factoring, found: dict[str, set[bool]]
    ) -> Link:
        dims = []
        for dim in link.dims:
            axis = operand.labels[dim.source] if dim.source is not None else CELL
            if axis in (CELL, LOST):
                dims.append(dim)
                continue
            before = axis in self.of.get(node.operands[link.operand], ())
            flips = dim.mirrors and axis not in self._never
            if dim.target is not None:
                found.setdefault(axis, set()).add(before != flips)
            if flips:
                dim = DimRead(dim.source, dim.target, IndexMap.identity())
            elif before and dim.carried is not None:  # from its other end, all that comes after is read
                dim = replace(dim, carried=None)
            elif before and dim.reads is not None and dim.obstruction is None:
                dim = self._mirrored(node, dim, axis, law, operand, out)
            dims.append(dim)
        return replace(link, dims=tuple(dims))

    def _mirrored(self, node: Node, dim: DimRead, axis: str, law: Law, operand: Factoring, out: Factoring) -> DimRead:
        assert dim.source is not None
        assert dim.reads is not None
        size = operand.sizes[dim.source]
        same = dim.target is not None and dim.reads == IndexMap.identity() and out.sizes[dim.target] == size
        if same:
            return dim
        if dim.target is None or node.op in STEPS or any(d == dim.target for d, *_ in law.margins):
            self.torn.add(axis)
            return dim
        return replace(dim, reads=mirrored(dim.reads, size, out.sizes[dim.target]), here=None)


def mirrored(reads: IndexMap, size: int, out_size: int) -> IndexMap:
    """The same map with both tensors counted from their other ends.

    >>> causal = IndexMap.window(3, padding=2)
    >>> mirrored(causal, 8, 8).reads(0, 1)  # and so it looks ahead
    Span(start=0, stop=3)
    """

    def phase(o: int) -> Spans:
        return Spans.of([(size - stop, size - start) for start, stop in reads[out_size - 1 - o].parts])

    return IndexMap.from_function(reads.period, reads.advance, phase)
