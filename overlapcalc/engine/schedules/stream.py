"""The schedule `stream`: along one axis, band by band.

Every tensor is computed once, and only those of its rows are kept that are still to be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ...algebra.reshape import Factoring
from ...algebra.spans import Span
from ...ops.graph import Node
from ...planning.plan import Plan
from ...planning.slabs import cell_regions
from ...propagate.regions import Region
from ...propagate.stream_front import StreamFront
from ...trace.runnable import Runnable
from ..block import Block
from ..slab.call import SlabCall
from ..slab.frame import Frame, SlabTensor, extents, shaped
from ..slab.spare import spare_operands
from ..store import Image
from .direct import Direct
from .regions import block_of, taken, whole


def streamed(frame: Frame, calls: Runnable, plan: Plan, inputs: Mapping[str, Image], axis: str) -> Iterator[Block]:
    """Run the blocks of a plan in order along `axis`, for every column of the other axes. Raises NoSlabError."""
    present = {name: x for name, x in inputs.items() if isinstance(x, Tensor)}

    def read(name: str, region: Region) -> SlabTensor:
        return taken(frame, plan, inputs[name], name, {name: region})

    for cell in plan.cells(along=axis):
        column = Column(frame, calls, axis, cell_regions(frame.net, cell), present, read)
        for slot in plan.strips[axis].slots:
            yield block_of(frame, plan, {**cell, axis: slot}, column.next(slot.outputs), column.held)


class Column:
    """The state of one column: the rows held of every tensor.

    regions: what is needed of each node along the other axes. present: the inputs that are there whole; read: reads a
    region of any other. direct: nodes of which nothing is held from band to band (see direct.py).
    """

    def __init__(
        self,
        frame: Frame,
        calls: Runnable,
        axis: str,
        regions: Mapping[str, Region],
        present: Mapping[str, Tensor],
        read: Callable[[str, Region], SlabTensor],
        direct: frozenset[str] = frozenset(),
    ) -> None:
        self._frame, self._calls, self._axis, self._regions = frame, calls, axis, regions
        self._front = StreamFront(frame.net, axis)
        self._outputs = self._front.outputs
        self._whole = {node for shown, node in frame.net.graph.outputs if shown not in self._outputs}
        self._given = dict.fromkeys(self._outputs.values(), 0)
        self.held = {name: whole(frame, name, x) for name, x in present.items()}
        self._inputs = frozenset(self.held)
        self._read, self._names = read, direct
        self._carried: dict[str, Any] = {}  # the states of scans
        self._direct = Direct(frame.net, axis, direct)
        self._leaving: dict[str, SlabTensor] = {}  # outputs of this band

    def next(self, outputs: Mapping[str, Span]) -> dict[str, SlabTensor]:
        """The next band of the outputs, by the names of their nodes. outputs: the band, by the names that are shown."""
        found = self._leaving = {}
        self._direct.begin(self._front.fresh(outputs), {self._outputs[shown]: s for shown, s in outputs.items()})
        for name, fresh in self._front.band(outputs):
            if name in self._names:
                continue
            node, region = self._frame.net.graph[name], self._regions.get(name)
            if region is None:
                continue
            if fresh is None:
                if name not in self.held:
                    self.held[name] = self._made(node, region)
                if name in self._whole:
                    found[name] = self.held[name]
                continue
            if name not in self._inputs:
                self._append(name, self._made(node, {**region, self._axis: fresh}))
            if name in self._given:
                self._give(name, outputs, found)
            for operand in dict.fromkeys((*node.operands, name)):
                if operand not in self._inputs and operand not in self._names:
                    self._forget(operand)
        for name in [name for name in self._given if name in self._names]:
            if (span := self._span(name, outputs)) is not None:
                found[name] = self._cut(name, self._direct.tensor(name, self._computed), span)
        late = [name for name in self._given if name not in self._names and name not in found]
        for name in late:  # computed further ahead, for other readers
            self._give(name, outputs, found)
            self._forget(name)
        return found

    def _made(self, node: Node, region: Region) -> SlabTensor:
        if node.op == "input":
            return self._read(node.name, region)
        near = {
            o: self._direct.tensor(o, self._computed) for o in dict.fromkeys(node.operands) if o in self._direct.wanted
        }
        operands = {
            name: near.get(name) or self.held[name] for name in node.operands if name in near or name in self.held
        }
        last = [name for name in operands if self._is_last(name, name in near)]
        kept = [held for name, held in self.held.items() if name not in last]
        spare = spare_operands(node, last, operands, (*kept, *self._direct.kept, *self._leaving.values()))
        for name in last:
            self.held.pop(name, None)  # it would be forgotten after this call
        del near, kept
        call = SlabCall(self._frame, node, self._calls.calls.get(node.name), region, operands, last, spare)
        del operands
        call.carried = self._carried.pop(node.name, None)
        result = call.result()
        if call.carried is not None:
            self._carried[node.name] = call.carried
        # a state may be a part of the result
        return SlabTensor(result, region, own=call.carried is None and call.owns(result))

    def _is_last(self, name: str, near: bool) -> bool:
        """Whether this call is the last that reads a tensor as it is held now."""
        if near:
            return self._direct.is_once(name)
        if name in self._inputs or name in self._given or name not in self.held:
            return False
        return self._axis in self.held[name].region and self._first(name) is None

    def _computed(self, name: str, span: Span) -> SlabTensor:
        """A direct node where it is wanted now."""
        return self._made(self._frame.net.graph[name], {**self._regions[name], self._axis: span})

    def _span(self, name: str, outputs: Mapping[str, Span]) -> Span | None:
        return outputs.get(next(shown for shown, node in self._outputs.items() if node == name))

    def _give(self, name: str, outputs: Mapping[str, Span], found: dict[str, SlabTensor]) -> None:
        span = self._span(name, outputs)
        if span is not None and name in self.held:
            found[name] = self._cut(name, self.held[name], span)
            self._given[name] = span.stop

    def _append(self, name: str, new: SlabTensor) -> None:
        old = self.held.get(name)
        if old is None:
            self.held[name] = new
            return
        layout, axis = self._frame.value(name).layout, self._axis
        at = layout.labels.index(axis)
        region = {**new.region, axis: Span(old.region[axis].start, new.region[axis].stop)}
        both = torch.cat([parts(layout, old), parts(layout, new)], at)
        self.held[name] = SlabTensor(shaped(both, extents(layout, region)), region, own=True)

    def _forget(self, name: str) -> None:
        """Drop the rows that will not be read again."""
        held = self.held.get(name)
        if held is None or self._axis not in held.region:
            return
        span, first = held.region[self._axis], self._first(name)
        if first is None or first >= span.stop:
            del self.held[name]
        elif first > span.start:
            kept = self._cut(name, held, Span(first, span.stop))
            self.held[name] = SlabTensor(kept.tensor.clone(), kept.region, own=True)

    def _first(self, name: str) -> int | None:
        """The first sample of a tensor that is still to be read, or to be given; None where there is none yet."""
        unread = self._front.unread(name)
        first = None if unread is None else unread.start
        if name in self._given and self._given[name] < self._front.extents[name].stop:
            first = self._given[name] if first is None else min(first, self._given[name])
        return first

    def _cut(self, name: str, held: SlabTensor, span: Span) -> SlabTensor:
        layout, axis = self._frame.value(name).layout, self._axis
        at, region = layout.labels.index(axis), {**held.region, axis: span}
        part = parts(layout, held).narrow(at, span.start - held.region[axis].start, span.length)
        return SlabTensor(shaped(part, extents(layout, region)), region)


def parts(layout: Factoring, held: SlabTensor) -> Tensor:
    """A region of a tensor with a dimension for each of its parts."""
    sizes = [held.region[p.label].length if p.label in held.region else p.size for p in layout.parts]
    return shaped(held.tensor, sizes)
