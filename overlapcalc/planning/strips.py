"""An axis cut into blocks: what each outputs, what it reads, and the tile that the unmodified net is fed for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import prod

from ..algebra.spans import Span
from ..analysis.named import Named
from ..analysis.one_image import OneImage
from ..errors import Argument, InputError
from ..ops.layout import BATCH
from ..propagate.backward import BackwardReads
from ..propagate.grid import Grid
from ..propagate.regions import extents_for
from ..propagate.values import Propagation
from .needs import Needs

MOST_BLOCKS = 100_000
"""The most blocks along one axis."""


@dataclass(frozen=True)
class BlockSpan:
    """One block along one axis. Spans are in samples of their own tensor.

    outputs: the samples that it contributes. reads: what these depend on; None for nothing. tiles: what the unmodified
    net is fed. given: what the net returns for that, of which `outputs` is kept. first, last: the steps that the tile
    leaves out before and after. An output that ends before the block is not in `outputs`.

    >>> slot = oc.plan(nn.Conv1d(3, 8, 5, padding=2), (1, 3, 64), block=16).strips["L"].slots[1]
    >>> print(slot.outputs["output"], slot.tiles["input"], slot.given["output"])
    [16, 32) [14, 34) [14, 34)
    """

    outputs: Named[Span]
    reads: Named[Span | None]
    tiles: Named[Span]
    given: Named[Span]
    first: int
    last: int


@dataclass(frozen=True)
class Strip:
    """One axis of an image, cut into slots. block: the length of a slot in samples of the finer of input and output.

    like: a tensor that moves with the slots.
    """

    axis: str
    block: int
    like: str
    slots: tuple[BlockSpan, ...]


def labels_of(net: Propagation) -> Named[tuple[str, ...]]:
    """The axis of each dimension of the inputs and outputs, by the names that are shown; "" for none."""
    nodes = [*((name, name) for name in net.graph.inputs), *net.graph.outputs]
    return Named({shown: net.values[node].labels for shown, node in nodes})


def labels_by_dim(net: Propagation) -> Named[tuple[str, ...]]:
    """The same for tensors that may hold several axes in one dimension: such a dimension counts as none."""
    nodes = [*((name, name) for name in net.graph.inputs), *net.graph.outputs]
    found = {}
    for shown, node in nodes:
        layout = net.values[node].layout
        every = [[layout.parts[i] for i in layout.places(d)] for d in range(len(layout.widths))]
        found[shown] = tuple(parts[0].label if len(parts) == 1 and parts[0].is_axis else "" for parts in every)
    return Named(found)


def batch_strip(one: OneImage) -> Strip:
    """The images of a batch, one after another."""
    slots = []
    for i in range(one.count):
        every = {name: Span(i, i + 1) for name in one.dims}
        slots.append(BlockSpan(Named(every), Named(every), Named(every), Named(every), 0, 0))
    return Strip(BATCH, 1, next(iter(one.dims)), tuple(slots))


def fed_ratio(net: Propagation, strips: Mapping[str, Strip], along: str | None = None) -> Fraction:
    """Samples fed over samples of all inputs. along: the axis of a stream, which reads each sample once per column."""
    fed = own = 0
    for name in net.graph.inputs:
        shape, samples = net.graph[name].shape, 1
        for n, axis in zip(shape, net.values[name].labels, strict=True):
            spans = [slot.tiles[name] for slot in strips[axis].slots if name in slot.tiles] if axis in strips else []
            if axis not in strips:
                samples *= n
            elif axis == along:
                samples *= max((s.stop for s in spans), default=0) - min((s.start for s in spans), default=0)
            else:
                samples *= sum(span.length for span in spans)
        fed += samples
        own += prod(shape)
    return Fraction(fed, own)


class Cutter:
    """Cuts one axis of a net at one size. Raises InputError where the axis has no joint grid, or an output no samples
    along it."""

    def __init__(self, net: Propagation, axis: str) -> None:
        self.net, self.axis, self.grid = net, axis, Grid(net, axis)
        self.outputs = {shown: node for shown, node in net.graph.outputs if net.size(node, axis) is not None}
        self.inputs = [name for name in net.graph.inputs if net.size(name, axis) is not None]
        refuse_without_samples(net, axis, self.outputs)
        self.like = next(iter(self.outputs.values()))
        for name in (*self.outputs.values(), *self.inputs):
            if not self.grid.same(name, self.like):
                raise InputError(
                    f"{self._shown(name)} and {self._shown(self.like)} do not move together along {axis}, so there is "
                    "no joint grid of blocks; run the parts of the net on their own, or leave this axis whole"
                )
        self._demand = lru_cache(maxsize=None)(self._demanded)
        self._needed = Needs(net, axis, self.grid)
        self.strip = lru_cache(maxsize=None)(self._strip)

    @property
    def finest(self) -> int:
        """Samples per step of the finest of inputs and outputs."""
        return max(self.grid.per_step(name) for name in (*self.outputs.values(), *self.inputs))

    @property
    def finest_input(self) -> str:
        return max(self.inputs, key=self.grid.per_step)

    @property
    def step(self) -> int:
        """Samples of that input per step."""
        return self.grid.per_step(self.finest_input)

    @property
    def steps(self) -> int:
        """The number of steps from the start to the end of the longest output."""
        return max(-(-self._size(node) // self.grid.per_step(node)) for node in self.outputs.values())

    @property
    def length(self) -> int:
        """The longest output, in samples of the finer side, rounded up to whole steps."""
        return self.steps * self.finest

    def whole_steps(self, block: int) -> int:
        """A block, given in samples of the finer side, in steps, rounded up."""
        return min(self.steps, -(-block // self.finest))

    def _strip(self, steps: int, extra: int = 0) -> Strip:
        """Blocks of this many steps, from the start on; tiles longer by `extra` steps than necessary."""
        slots = []
        self._refuse_many(-(-self.steps // steps))
        for start in range(0, self.steps, steps):
            stop = min(start + steps, self.steps)
            first, last = self.cut(start, stop)
            given = min(last, extra)
            slots.append(self.slot(start, stop, max(0, first - (extra - given)), last - given))
        return Strip(self.axis, steps * self.finest, self.like, tuple(slots))

    def free_strip(self, block: int) -> Strip:
        """Blocks of this many samples of the finer side, wherever they begin: for schedules without tiles.

        In place of tiles they have the part of each input that must be present.
        """
        slots, nodes = [], dict(self.outputs)
        ends = {shown: self._size(node) for shown, node in nodes.items()}
        length = max(-(-n * self.finest // self.grid.per_step(nodes[shown])) for shown, n in ends.items())
        self._refuse_many(-(-length // block))
        for start in range(0, length, block):
            stop = start + block
            outputs = {}
            for shown, node in nodes.items():
                per_step = self.grid.per_step(node)
                a, b = (min(-(-at * per_step // self.finest), ends[shown]) for at in (start, stop))
                if a < b:
                    outputs[shown] = Span(a, b)
            if not outputs:
                continue
            wanted = extents_for(self.net, self.axis, outputs)
            tiles = {name: wanted.get(name) for name in self.inputs}
            held = Named({name: span for name, span in tiles.items() if span is not None})
            slots.append(BlockSpan(Named(outputs), Named(tiles), held, Named(outputs), 0, 0))
        return Strip(self.axis, min(block, length), self.like, tuple(slots))

    def slot(self, start: int, stop: int, first: int, last: int) -> BlockSpan:
        """The block of steps `[start, stop)` on a tile that leaves out `first` steps before and `last` after."""
        reads: dict[str, Span | None] = dict.fromkeys(self.inputs)
        for found in self._demand(start, stop).values():
            for name, spans in found.reads.items():
                if spans.hull is not None:
                    reads[name] = spans.hull.joined(reads.get(name))
        return BlockSpan(
            Named(self._spans(start, stop)),
            Named(reads),
            Named({name: self._extent(name, first, last) for name in self.inputs}),
            Named({shown: self._extent(node, first, last) for shown, node in self.outputs.items()}),
            first,
            last,
        )

    def with_sides(self, slot: BlockSpan, before: int, after: int) -> BlockSpan:
        """The same block on a tile with this many samples of the finest input around it, as far as the image goes.

        Raises InputError where that is off the grid.
        """
        start, stop = self._steps_of(slot)
        step, size = self.step, self._size(self.finest_input)
        if before < 0 or after < 0 or before % step or (size - after) % step != size % step:
            raise InputError(
                f"a tile of {before} before and {after} after along {self.axis}: it must start on the grid, and its "
                f"length must be that of the image modulo the step; give multiples of {step}, such as "
                f"{_neighbours(before, step)} before and {_neighbours(after, step)} after"
            )
        whole = size // step
        first = max(0, start - before // step)
        last = max(0, whole - stop - after // step)
        for node in self.outputs.values():
            if self._size(node) <= (first + last) * self.grid.per_step(node):
                raise InputError(
                    f"a tile of {before} before and {after} after along {self.axis}: the net gives nothing on so few "
                    "samples; give more"
                )
        return self.slot(start, stop, first, last)

    def sides(self, slot: BlockSpan) -> tuple[int, int]:
        """The samples of the finest input that the tile of a block has before and after it, none where it ends within
        the block: `with_sides` gives that tile, or a longer one."""
        start, stop = self._steps_of(slot)
        whole = self._size(self.finest_input) // self.step
        return max(0, start - slot.first) * self.step, max(0, whole - slot.last - stop) * self.step

    def _steps_of(self, slot: BlockSpan) -> tuple[int, int]:
        """The steps that a block covers."""
        spans = [(span, self.grid.per_step(self.outputs[shown])) for shown, span in slot.outputs.items()]
        return min(span.start // n for span, n in spans), max(-(-span.stop // n) for span, n in spans)

    def cut(self, start: int, stop: int) -> tuple[int, int]:
        """The most steps that a tile for the block `[start, stop)` may leave out before and after."""
        cuts = [self.grid.cut(found, node) for node, found in self._demand(start, stop).items()]
        return min(first for first, _ in cuts), min(last for _, last in cuts)

    def _refuse_many(self, blocks: int) -> None:
        refuse_many(blocks, self.axis)

    def _spans(self, start: int, stop: int) -> dict[str, Span]:
        found = {}
        for shown, node in self.outputs.items():
            per_step, size = self.grid.per_step(node), self._size(node)
            here = start * per_step, size if stop == self.steps else min(stop * per_step, size)
            if here[0] < here[1]:
                found[shown] = Span(*here)
        return found

    def _demanded(self, start: int, stop: int) -> Mapping[str, BackwardReads]:
        spans = self._spans(start, stop)
        return {
            self.outputs[shown]: self._needed.of(self.outputs[shown], Span(*span), start)
            for shown, span in spans.items()
        }

    def _extent(self, node: str, first: int, last: int) -> Span:
        per_step = self.grid.per_step(node)
        return Span(first * per_step, self._size(node) - last * per_step)

    def _size(self, node: str) -> int:
        size = self.net.size(node, self.axis)
        assert size is not None
        return size

    def _shown(self, node: str) -> str:
        return next((shown for shown, name in self.outputs.items() if name == node), node)


def refuse_many(blocks: int, axis: str) -> None:
    if blocks > MOST_BLOCKS:
        raise InputError(f"{blocks} blocks along {axis}; at most {MOST_BLOCKS} are planned: give a larger block")


def refuse_without_samples(net: Propagation, axis: str, outputs: Mapping[str, str]) -> None:
    """Raises InputError where no output has the axis, or one has no samples along it."""
    if not outputs:
        raise InputError(
            f"no output has the axis {axis}; leave it whole, and name the axes to cut with ", Argument("axes")
        )
    for shown, node in outputs.items():
        if not net.size(node, axis):
            images = ", ".join("x".join(map(str, net.graph[name].shape)) for name in net.graph.inputs)
            raise InputError(f"on {images} {shown} is empty along {axis}; give a larger image")


def _neighbours(n: int, step: int) -> str:
    """The nearest multiples of a step: "4 or 6"; the number itself where it is one."""
    low = max(0, n // step)
    return f"{low * step}" if n == low * step or n < 0 else f"{low * step} or {(low + 1) * step}"
