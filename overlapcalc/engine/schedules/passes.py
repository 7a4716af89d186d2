"""The schedule `passes`: a net with barriers, as one stream after another over what the streams before stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import islice
from typing import Protocol

from torch import Tensor

from ...algebra.spans import Span, Spans
from ...analysis.named import Named
from ...errors import NoSlabError
from ...ops.parts import Partial, reduction_of
from ...ops.scans import sweep_of
from ...planning.passes.cut import Pass
from ...propagate.far import far_reads, scans
from ...propagate.regions import Region, joint_regions, whole_region
from ...propagate.staged import Barrier, Staged
from ...trace.runnable import Runnable
from ..block import Block, owned
from ..slab.band import BandCall
from ..slab.frame import Frame, SlabTensor, extents, shaped
from ..spill.rows import Rows
from ..store import Image, read
from .direct import direct_nodes
from .regions import run_regions, whole
from .split import SplitColumn
from .stream import Column, parts
from .sweep import bands_of, between, sweep

Storage = Callable[[str, Tensor, tuple[int, ...], int], Rows]
"""Name, a first band, the whole shape, and the dimension along which it comes in bands -> where it is stored."""


class Watch(Protocol):
    """Is told what a run is about to do."""

    def begins(self, one: Pass) -> int:
        """A pass, and first what runs whole. Returns how many of its bands to run."""

    def goes_by_bands(self) -> None:
        """The bands of the pass."""


class PassRun:
    """A run of all passes. frame: of the whole staged net. rows: the length of a band, of the longest tensor. after:
    called after every band of every pass.

    covered: for every reduction and everything that was stored, the length of the axis and the bands of it that came.
    """

    def __init__(
        self,
        frame: Frame,
        calls: Runnable,
        net: Staged,
        passes: tuple[Pass, ...],
        rows: int,
        inputs: Mapping[str, Image],
        storage: Storage,
        watch: Watch | None = None,
        after: Callable[[], object] | None = None,
    ) -> None:
        self._frame, self._calls, self._net, self._passes, self._rows = frame, calls, net, passes, rows
        self._inputs, self._storage, self._axis, self._watch = inputs, storage, net.axis, watch
        self._after = after
        self._given: dict[str, Tensor] = {name: x for name, x in inputs.items() if isinstance(x, Tensor)}
        self._stored: dict[str, Rows] = {}
        self._held: Mapping[str, SlabTensor] = {}  # what the stream of the pass holds for its next bands
        self.covered: dict[str, tuple[int, list[Span]]] = {}

    def blocks(self) -> Iterator[Block]:
        """Every block of every output, as they come. Raises NoSlabError."""
        for one in self._passes:
            most = None if self._watch is None else self._watch.begins(one)
            yield from self._pass(one, most)

    # ---- one pass -----------------------------------------------------------------------------------------

    def _pass(self, one: Pass, most: int | None) -> Iterator[Block]:
        for name in one.before:
            barrier = self._net.barriers.get(name)
            if barrier is not None and barrier.swept:
                self._sweep(barrier)
                continue
            self._given[name] = self._whole(self._net.whole[name]) if barrier is None else self._run_whole(barrier)
        if self._watch is not None:
            self._watch.goes_by_bands()
        frame = replace(self._frame, net=one.net)
        partial: dict[str, Partial] = {}
        for found in islice(self._bands(one, frame), most):
            self._store(one, found)
            for name in one.takes:
                self._take(name, found, partial)
            block = self._block(one, found)
            del found  # before the next band is computed, or two would be held
            if self._after is not None:
                self._after()
            if block.regions:
                yield block
        self._held = {}
        for name in one.takes:
            if most is None:
                self._check_taken(name)
            self._given[name] = self._finished(name, partial.pop(name))
        for shown, node in one.ended:
            yield Block(Named({shown: {}}), owned({shown: self._whole(node)}, self._given.values()))
        for name in one.last:
            self._given.pop(name, None)
            rows = self._stored.pop(name, None)
            if rows is not None:
                rows.drop()

    def _bands(self, one: Pass, frame: Frame) -> Iterator[dict[str, SlabTensor]]:
        """What leaves a pass, band by band."""
        regions = joint_regions(one.net, {})
        here = {name: x for name, x in self._given.items() if name in one.net.graph.inputs}
        bands = list(one.bands(self._axis, self._rows))
        if not bands:
            for name in {*one.net.graph.inputs} - {*here}:  # only its shape matters
                regions.pop(name, None)
            yield run_regions(frame, self._calls, regions, {name: whole(frame, name, x) for name, x in here.items()})
            return
        direct = direct_nodes(one.net, self._axis, frozenset(one.net.graph.inputs) - here.keys())
        if self._by_parts(one, direct | here.keys()):
            spans_of = {
                name: {axis: Spans.span(*span) for axis, span in region.items()} for name, region in regions.items()
            }
            apart = SplitColumn(
                frame, self._calls, self._axis, spans_of, here, lambda n, box: self._read(n, box).tensor
            )
            self._held = apart.held
            for spans in bands:
                yield apart.next(spans)
            return
        column = Column(frame, self._calls, self._axis, regions, here, self._read, direct)
        self._held = column.held
        for spans in bands:
            yield column.next(spans)

    def _by_parts(self, one: Pass, direct: AbstractSet[str]) -> bool:
        """Whether what is computed far ahead is held in several parts. What is read directly need not be held."""
        if scans(one.net, self._axis):
            return False
        return any(far.wide or far.operand not in direct for far in far_reads(one.net, self._axis))

    def _store(self, one: Pass, found: Mapping[str, SlabTensor]) -> None:
        for name in one.stores:
            held = found.get(name)
            if held is None:
                continue
            if self._axis not in held.region:
                self._given[name] = held.tensor
                continue
            self._put(name, held)

    def _put(self, name: str, held: SlabTensor) -> None:
        layout = self._frame.value(name).layout
        band, at = parts(layout, held), layout.labels.index(self._axis)
        if name not in self._stored:
            self._stored[name] = self._storage(name, band, layout.sizes, at)
        self._stored[name].write(held.region[self._axis].start, band)
        self._cover(f"stored {name}", name, held)

    def _sweep(self, barrier: Barrier) -> None:
        """Store what an operator gives that goes to and fro over its operand."""
        node, d, how = barrier.node, barrier.cut[0], sweep_of(barrier.node.op)
        (operand,), size = node.operands, self._frame.net.size(node.operands[0], self._axis)
        assert how is not None
        assert d is not None
        assert size is not None
        call = self._call(barrier, [], 0)
        length = call.call.shapes[0][d]
        between_ways: dict[int, Rows] = {}

        def write(k: int, at: Span, found: Tensor) -> Rows:
            if k not in between_ways:
                whole_of = (*found.shape[:d], length, *found.shape[d + 1 :])
                between_ways[k] = self._storage(between(node.name, k), found, whole_of, d)
            between_ways[k].write(at.start, found)
            return between_ways[k]

        def band(span: Span) -> Tensor:
            if operand not in self._given:
                return self._read(operand, {self._axis: span}).tensor
            return self._given[operand].narrow(d, span.start * length // size, span.length * length // size)

        spans = bands_of(size, self._rows, few=self._frame.shapes_only)
        try:
            for span, found in sweep(call, how.ways(call.call), spans, band, write, length // size):
                self._put(node.name, SlabTensor(call.typed(found), {self._axis: span}))
        except NoSlabError as error:
            raise NoSlabError(str(error), node.name) from error
        self.covered[f"stored {node.name}"][1].sort()

    def _take(self, name: str, found: Mapping[str, SlabTensor], partial: dict[str, Partial]) -> None:
        """Add a band to what a reduction has so far."""
        barrier = self._net.barriers[name]
        bands = [found.get(operand) for operand in barrier.node.operands]
        cut = [held for held, d in zip(bands, barrier.cut, strict=True) if d is not None]
        if any(held is None for held in cut):
            return  # a band too narrow for a sample of it
        tensors = [
            self._given[operand] if held is None else held.tensor
            for operand, held in zip(barrier.node.operands, bands, strict=True)
        ]
        call = self._call(barrier, tensors, self._begins(barrier, found))
        how = reduction_of(barrier.node.op)
        assert how is not None
        try:
            new = how.start(call)
        except NoSlabError as error:
            raise NoSlabError(str(error), barrier.node.name) from error
        for operand, held in dict(zip(barrier.node.operands, bands, strict=True)).items():
            if held is not None:
                self._cover(f"{name} of {operand}", operand, held)
        partial[name] = how.combine(partial[name], new) if name in partial else new

    def _check_taken(self, name: str) -> None:
        """Raises AssertionError unless a reduction has had every sample of its operands once."""
        barrier = self._net.barriers[name]
        for operand, cut in zip(barrier.node.operands, barrier.cut, strict=True):
            size = 0 if cut is None else self._frame.net.size(operand, self._axis)
            spans = sorted(self.covered.get(f"{name} of {operand}", (size, []))[1])
            ends = [0, *(span.stop for span in spans)]
            if [span.start for span in spans] != ends[:-1] or ends[-1] != size:
                raise AssertionError(f"{name}: of {size} samples of {operand} came {', '.join(map(str, spans))}")

    def _cover(self, what: str, node: str, held: SlabTensor) -> None:
        if self._axis in held.region:
            size = self._frame.net.size(node, self._axis) or 0
            self.covered.setdefault(what, (size, []))[1].append(held.region[self._axis])

    def _begins(self, barrier: Barrier, found: Mapping[str, SlabTensor]) -> int:
        """Where a band begins along the dimension that holds the axis."""
        operand, dim = next((o, d) for o, d in zip(barrier.node.operands, barrier.cut, strict=True) if d is not None)
        layout, begins = self._frame.value(operand).layout, found[operand].region[self._axis].start
        for i in layout.places(dim):
            if i > layout.labels.index(self._axis):
                begins *= layout.sizes[i]
        return begins

    def _finished(self, name: str, partial: Partial) -> Tensor:
        barrier = self._net.barriers[name]
        how = reduction_of(barrier.node.op)
        assert how is not None
        call = self._call(barrier, [], 0)
        result: Tensor = how.finish(call.call, partial)
        return call.typed(result) if how.apply is None else result

    def _block(self, one: Pass, found: Mapping[str, SlabTensor]) -> Block:
        given = {shown: found[node] for shown, node in one.outputs if node in found}
        regions = {shown: held.region for shown, held in given.items()}
        kept = [*self._given.values(), *(held.tensor for held in self._held.values())]
        results = {shown: held.tensor for shown, held in given.items()}
        others = [held.tensor for held in found.values()] if len(found) > len(given) else []
        return Block(Named(regions), owned(results, [*kept, *others]))

    # ---- tensors ------------------------------------------------------------------------------------------

    def _call(self, barrier: Barrier, tensors: list[Tensor], begins: int) -> BandCall:
        node = barrier.node
        return BandCall(self._frame, node, self._calls.calls.get(node.name), tensors, barrier.cut, begins)

    def _run_whole(self, barrier: Barrier) -> Tensor:
        tensors = [self._whole(operand) for operand in barrier.node.operands]
        call = self._call(barrier, tensors, 0)
        return call.typed(call.run())

    def _whole(self, name: str) -> Tensor:
        """A tensor as a whole."""
        if name in self._given:
            return self._given[name]
        layout = self._frame.value(name).layout
        if name in self._stored:
            whole_of = self._stored[name].read(Span(0, layout.sizes[layout.labels.index(self._axis)]))
            return shaped(whole_of, extents(layout, whole_region(self._frame.net, name)))
        image = self._inputs[name]
        return read(image, (slice(None),) * len(image.shape), self._frame.like.device)

    def _read(self, name: str, region: Region) -> SlabTensor:
        """A band of a stored tensor."""
        name = self._net.stored.get(name, name)
        layout = self._frame.value(name).layout
        if name in self._stored:
            band = self._stored[name].read(region[self._axis])
            return SlabTensor(shaped(band, extents(layout, region)), region, own=self._stored[name].new)
        image = self._inputs[name]
        place = tuple(slice(*region[label]) if label in region else slice(None) for label in layout.labels)
        part = read(image, place, self._frame.like.device)
        return SlabTensor(part, region, own=not isinstance(image, Tensor))
