"""The schedules `trim` and `stream`: every layer computes only what is needed of it.

`trim` computes each block on its own. `stream` goes along one axis, band by band: every tensor is computed once, and
only those of its rows are kept that are still to be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from ...algebra.reshape import Factoring
from ...algebra.spans import Span
from ...analysis.named import Named
from ...ops.graph import Node
from ...planning.plan import Cell, Plan
from ...planning.slabs import cell_regions
from ...planning.strips import BlockSpan
from ...propagate.regions import Region, whole_region
from ...propagate.stream_front import StreamFront
from ...trace.runnable import Runnable
from ..block import Block, owned, within
from ..slab.call import SlabCall
from ..slab.frame import Frame, SlabTensor, extents
from ..store import Image, read
from .regions import run_regions


def trimmed(frame: Frame, calls: Runnable, plan: Plan, inputs: Mapping[str, Image]) -> Iterator[Block]:
    """Run every block of a plan on its own. Raises NoSlabError."""
    for cell in plan.cells():
        regions = cell_regions(frame.net, cell)
        given = {name: _taken(frame, plan, x, name, regions) for name, x in inputs.items() if name in regions}
        yield _block(frame, plan, cell, run_regions(frame, calls, regions, given), given)


def streamed(frame: Frame, calls: Runnable, plan: Plan, inputs: Mapping[str, Image], axis: str) -> Iterator[Block]:
    """Run the blocks of a plan in order along `axis`, for every column of the other axes. Raises NoSlabError."""
    for column in plan.cells(along=axis):
        band = _Bands(frame, calls, plan, axis, cell_regions(frame.net, column), inputs)
        for slot in plan.strips[axis].slots:
            yield _block(frame, plan, {**column, axis: slot}, band.next(slot), band.held)


class _Bands:
    """The state of one column: the rows held of every tensor."""

    def __init__(
        self,
        frame: Frame,
        calls: Runnable,
        plan: Plan,
        axis: str,
        regions: Mapping[str, Region],
        inputs: Mapping[str, Image],
    ) -> None:
        self._frame, self._calls, self._plan, self._axis, self._regions = frame, calls, plan, axis, regions
        self._front = StreamFront(frame.net, axis)
        self._outputs = self._front.outputs
        self._whole = {node for shown, node in frame.net.graph.outputs if shown not in self._outputs}
        self._given = dict.fromkeys(self._outputs.values(), 0)
        self.held = {name: _whole(frame, name, x) for name, x in inputs.items() if isinstance(x, Tensor)}
        self._inputs = frozenset(self.held)
        self._stored = {name: x for name, x in inputs.items() if not isinstance(x, Tensor)}

    def next(self, slot: BlockSpan) -> dict[str, SlabTensor]:
        """The outputs of the next band."""
        found: dict[str, SlabTensor] = {}
        for name, fresh in self._front.band(slot.outputs):
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
                self._give(name, slot, found)
            for operand in {*node.operands, name} - self._inputs:
                self._forget(operand)
        for name in self._given:  # computed further ahead, for other readers
            if name not in found:
                self._give(name, slot, found)
                self._forget(name)
        return found

    def _made(self, node: Node, region: Region) -> SlabTensor:
        if node.name in self._stored:
            return _taken(self._frame, self._plan, self._stored[node.name], node.name, {node.name: region})
        call = SlabCall(self._frame, node, self._calls.calls.get(node.name), region, self.held)
        return SlabTensor(call.result(), region)

    def _give(self, name: str, slot: BlockSpan, found: dict[str, SlabTensor]) -> None:
        shown = next(shown for shown, node in self._outputs.items() if node == name)
        span = slot.outputs.get(shown)
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
        both = torch.cat([_parts(layout, old), _parts(layout, new)], at)
        self.held[name] = SlabTensor(both.reshape(extents(layout, region)), region)

    def _forget(self, name: str) -> None:
        """Drop the rows that will not be read again."""
        held = self.held.get(name)
        if held is None or self._axis not in held.region:
            return
        span, unread = held.region[self._axis], self._front.unread(name)
        first = span.stop if unread is None else unread.start
        if name in self._given and self._given[name] < self._front.extents[name].stop:
            first = min(first, self._given[name])
        if first >= span.stop:
            del self.held[name]
        elif first > span.start:
            kept = self._cut(name, held, Span(first, span.stop))
            self.held[name] = SlabTensor(kept.tensor.clone(), kept.region)

    def _cut(self, name: str, held: SlabTensor, span: Span) -> SlabTensor:
        layout, axis = self._frame.value(name).layout, self._axis
        at, region = layout.labels.index(axis), {**held.region, axis: span}
        part = _parts(layout, held).narrow(at, span.start - held.region[axis].start, span.length)
        return SlabTensor(part.reshape(extents(layout, region)), region)


def _parts(layout: Factoring, held: SlabTensor) -> Tensor:
    sizes = [held.region[p.label].length if p.label in held.region else p.size for p in layout.parts]
    return held.tensor.reshape(sizes)


def _whole(frame: Frame, name: str, x: Tensor) -> SlabTensor:
    return SlabTensor(x, whole_region(frame.net, name))


def _taken(frame: Frame, plan: Plan, x: Image, name: str, regions: Mapping[str, Region]) -> SlabTensor:
    """The needed part of an input; a tensor is taken whole."""
    if isinstance(x, Tensor):
        return _whole(frame, name, x)
    return SlabTensor(read(x, within(plan.labels[name], regions[name]), frame.like.device), regions[name])


def _block(
    frame: Frame,
    plan: Plan,
    cell: Cell,
    found: Mapping[str, SlabTensor],
    held: Mapping[str, SlabTensor],
) -> Block:
    """The outputs, cut to the block. held: what is still to be read, including inputs."""
    regions, results = {}, {}
    for shown, node in frame.net.graph.outputs:
        region = plan.region(cell, shown)
        if region is None or node not in found:
            continue
        regions[shown] = region
        results[shown] = found[node].tensor[within(plan.labels[shown], region, found[node].region)]
    return Block(Named(regions), owned(results, (other.tensor for other in held.values())))
