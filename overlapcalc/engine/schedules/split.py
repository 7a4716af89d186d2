"""Trim and stream by the laws of one size, where what is needed of a tensor may be several spans."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import prod

import torch
from torch import Tensor

from ...algebra.reshape import Factoring
from ...algebra.spans import Span, Spans
from ...ops.graph import Node
from ...planning.plan import Cell, Plan
from ...propagate.regions import Region, whole_region
from ...propagate.split import Parts, SplitFront, parts_for
from ...propagate.values import Propagation
from ...trace.runnable import Runnable
from ..block import Block, within
from ..slab.call import SlabCall
from ..slab.frame import Frame, SlabTensor, length
from ..store import Image, read
from .regions import block_of, whole

SplitRegion = Mapping[str, Spans]
"""What is needed of a tensor along each of its axes."""


def trimmed_here(frame: Frame, calls: Runnable, plan: Plan, inputs: Mapping[str, Image]) -> Iterator[Block]:
    """Run every block of a plan on its own. Raises NoSlabError."""
    net = frame.net
    for cell in plan.cells():
        regions = _regions(net, cell)
        last = {operand: i for i, node in enumerate(net.graph) if node.name in regions for operand in node.operands}
        given = {name: _taken(frame, plan, x, name, regions[name]) for name, x in inputs.items() if name in regions}
        held, found = dict(given), {}
        outputs = {node: shown for shown, node in net.graph.outputs}
        for i, node in enumerate(net.graph):
            if node.name not in regions:
                continue
            if node.op != "input":
                held[node.name] = _computed(frame, calls, node, regions[node.name], held)
            for shown, name in net.graph.outputs:
                region = plan.region(cell, shown) if name == node.name else None
                if region is not None:
                    found[name] = _narrowed(frame, name, held[name], region)
            for operand in dict.fromkeys((*node.operands, node.name)):
                if last.get(operand, -1) <= i:
                    held.pop(operand, None)
        del outputs, held
        yield block_of(frame, plan, cell, found, given)


def streamed_here(frame: Frame, calls: Runnable, plan: Plan, inputs: Mapping[str, Image], axis: str) -> Iterator[Block]:
    """Run the blocks of a plan in order along `axis`, for every column of the other axes. Raises NoSlabError."""

    def taken(name: str, box: Region) -> Tensor:
        return read(inputs[name], within(plan.labels[name], box), frame.like.device)

    present = {name: x for name, x in inputs.items() if isinstance(x, Tensor)}
    for cell in plan.cells(along=axis):
        column = SplitColumn(frame, calls, axis, _regions(frame.net, cell), present, taken)
        for slot in plan.strips[axis].slots:
            yield block_of(frame, plan, {**cell, axis: slot}, column.next(slot.outputs), column.held)


class SplitColumn:
    """The state of one column: what is held of every tensor. regions: what is needed of each, whole along the axis.
    present: inputs that are there as a whole; read: a box of any other."""

    def __init__(
        self,
        frame: Frame,
        calls: Runnable,
        axis: str,
        regions: Mapping[str, SplitRegion],
        present: Mapping[str, Tensor],
        read: Callable[[str, Region], Tensor],
    ) -> None:
        self._frame, self._calls, self._axis, self._regions, self._read = frame, calls, axis, regions, read
        self._front = SplitFront(frame.net, axis)
        self._left = {node: self._front.extents[node] for node in self._front.outputs.values()}
        self.held = {name: whole(frame, name, x) for name, x in present.items()}
        self._inputs = frozenset(self.held)

    def next(self, outputs: Mapping[str, Span]) -> dict[str, SlabTensor]:
        """The next band of the outputs, by the names of their nodes. outputs: the band, by the names that are shown."""
        found: dict[str, SlabTensor] = {}
        band = {shown: Spans.span(*span) for shown, span in outputs.items() if shown in self._front.outputs}
        for name, fresh in self._front.band(band):
            node, region = self._frame.net.graph[name], self._regions.get(name)
            if region is None:
                continue
            if fresh is None:
                if name not in self.held:
                    self.held[name] = self._made(node, region)
                continue
            if name not in self._inputs:
                self._append(name, self._made(node, {**region, self._axis: fresh}))
            self._give(name, outputs, found)
            for operand in [o for o in dict.fromkeys((*node.operands, name)) if o not in self._inputs]:
                self._forget(operand)
        for shown, name in self._frame.net.graph.outputs:
            if shown not in self._front.outputs and name in self.held:
                found[name] = self.held[name]
            elif name not in found:  # computed further ahead, for other readers
                self._give(name, outputs, found)
                self._forget(name)
        return found

    def _made(self, node: Node, region: SplitRegion) -> SlabTensor:
        if node.op == "input":
            return _boxed(self._frame, node.name, region, partial(self._read, node.name))
        return _computed(self._frame, self._calls, node, region, self.held)

    def _give(self, name: str, outputs: Mapping[str, Span], found: dict[str, SlabTensor]) -> None:
        for shown, node in self._front.outputs.items():
            if node == name and shown in outputs and name in self.held:
                span = outputs[shown]
                found[name] = _narrowed(self._frame, name, self.held[name], {self._axis: span})
                self._left[name] = self._left[name].minus(Spans.span(*span))

    def _append(self, name: str, new: SlabTensor) -> None:
        old = self.held.get(name)
        if old is not None:
            pieces = [*_pieces(self._frame, name, old, self._axis), *_pieces(self._frame, name, new, self._axis)]
            new = _end_to_end(self._frame, name, pieces, self._axis, new)
        self.held[name] = new

    def _forget(self, name: str) -> None:
        """Drop what will not be read again."""
        held = self.held.get(name)
        if held is None or name in self._inputs or self._axis not in held.region:
            return
        kept = self._front.unread(name)
        if name in self._left:
            kept |= self._left[name].common(held.at(self._axis))
        if not kept:
            del self.held[name]
        elif kept != held.at(self._axis):
            pieces = [
                (span, x)
                for a, b in kept.parts
                for span, x in [(Span(a, b), _cut(self._frame, name, held, self._axis, Span(a, b)))]
            ]
            made = _end_to_end(self._frame, name, pieces, self._axis, held)
            one = len(pieces) == 1
            self.held[name] = SlabTensor(made.tensor.clone(), made.region, made.spans) if one else made


def _regions(net: Propagation, cell: Cell) -> dict[str, SplitRegion]:
    """Node -> what a block, or a column of blocks, needs of it along every axis; other nodes are not needed."""
    along: dict[str, Parts] = {}
    for axis, slot in cell.items():
        along[axis] = parts_for(net, axis, {shown: Spans.span(*span) for shown, span in slot.outputs.items()})
    regions: dict[str, SplitRegion] = {}
    for node in net.graph:
        everything = {axis: Spans.span(*span) for axis, span in whole_region(net, node.name).items()}
        here = {axis: parts for axis, parts in along.items() if axis in everything}
        if all(node.name in parts for parts in here.values()):
            regions[node.name] = {**everything, **{axis: parts[node.name] for axis, parts in here.items()}}
    return regions


def _boxed(frame: Frame, name: str, region: SplitRegion, box: object) -> SlabTensor:
    """A tensor on several spans along some axes, put together from boxes. box: Region -> its tensor."""
    layout = frame.value(name).layout

    def along(axes: list[str], chosen: Region) -> Tensor:
        if not axes:
            made: Tensor = box(chosen)  # type: ignore[operator]
            return made
        parts = [Span(*part) for part in region[axes[0]].parts]
        made_of = [along(axes[1:], {**chosen, axes[0]: part}) for part in parts]
        if len(parts) == 1:
            return made_of[0]
        sizes = {axis: sum(s.length for s in [chosen[axis]]) for axis in chosen}
        sizes.update({axis: length(region[axis]) for axis in axes[1:]})
        at = layout.labels.index(axes[0])
        shaped = [
            x.reshape(_sizes(layout, {**sizes, axes[0]: part.length})) for x, part in zip(made_of, parts, strict=True)
        ]
        return _folded_back(layout, torch.cat(shaped, at))

    tensor = along(list(region), {})
    return SlabTensor(tensor, _hulls(region), {axis: spans for axis, spans in region.items() if len(spans.parts) > 1})


def _computed(
    frame: Frame, calls: Runnable, node: Node, region: SplitRegion, held: Mapping[str, SlabTensor]
) -> SlabTensor:
    return _boxed(
        frame, node.name, region, lambda box: SlabCall(frame, node, calls.calls.get(node.name), box, held).result()
    )


def _taken(frame: Frame, plan: Plan, x: Image, name: str, region: SplitRegion) -> SlabTensor:
    """The needed part of an input; a tensor is taken whole."""
    if isinstance(x, Tensor):
        return whole(frame, name, x)
    return _boxed(frame, name, region, lambda box: read(x, within(plan.labels[name], box), frame.like.device))


def _hulls(region: SplitRegion) -> Region:
    return {axis: Span(spans.parts[0][0], spans.parts[-1][1]) for axis, spans in region.items()}


def _sizes(layout: Factoring, along: Mapping[str, int]) -> list[int]:
    return [along.get(label, n) for label, n in zip(layout.labels, layout.sizes, strict=True)]


def _folded_back(layout: Factoring, x: Tensor) -> Tensor:
    """Parts as the dimensions that they make up."""
    return x.reshape([prod(x.shape[i] for i in layout.places(d)) for d in range(len(layout.widths))])


def _cut(frame: Frame, name: str, held: SlabTensor, axis: str, span: Span) -> Tensor:
    """One span of what is held along an axis, in parts; it must lie in one of the spans that are held."""
    layout, before = frame.value(name).layout, 0
    x = held.tensor.reshape([held.extent(layout, i) for i in range(len(layout.labels))])
    for a, b in held.at(axis).parts:
        if a <= span.start and span.stop <= b:
            return x.narrow(layout.labels.index(axis), before + span.start - a, span.length)
        before += b - a
    raise AssertionError(f"{name} holds {held.at(axis)} along {axis}, not {span}")


def _pieces(frame: Frame, name: str, held: SlabTensor, axis: str) -> list[tuple[Span, Tensor]]:
    return [(Span(*part), _cut(frame, name, held, axis, Span(*part))) for part in held.at(axis).parts]


def _end_to_end(frame: Frame, name: str, pieces: list[tuple[Span, Tensor]], axis: str, like: SlabTensor) -> SlabTensor:
    """Pieces along an axis, in order. like: a tensor that holds the same along the other axes."""
    layout = frame.value(name).layout
    ordered = sorted(pieces, key=lambda piece: piece[0].start)
    at = layout.labels.index(axis)
    x = ordered[0][1] if len(ordered) == 1 else torch.cat([x for _, x in ordered], at)
    spans = Spans.of((span.start, span.stop) for span, _ in ordered)
    others = {label: s for label, s in like.spans.items() if label != axis}
    several = {**others, axis: spans} if len(spans.parts) > 1 else others
    region = {**like.region, axis: Span(spans.parts[0][0], spans.parts[-1][1])}
    return SlabTensor(_folded_back(layout, x), region, several)


def _narrowed(frame: Frame, name: str, held: SlabTensor, region: Region) -> SlabTensor:
    """What is held, cut to one span along each of these axes."""
    for axis, span in region.items():
        if axis in held.region and held.at(axis).parts != ((span.start, span.stop),):
            held = _end_to_end(frame, name, [(span, _cut(frame, name, held, axis, span))], axis, held)
    return held
