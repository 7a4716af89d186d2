"""The values of a propagation: what is known about every tensor of a net."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from operator import or_

from ..algebra.cell_map import CellMap
from ..algebra.cells import Field
from ..algebra.index_map import IndexMap
from ..algebra.rates import Rate, RateTies
from ..algebra.reshape import Factoring, Reshape
from ..algebra.spans import Spans
from ..ops.border import Border
from ..ops.graph import Graph
from ..ops.law import Law
from .unrolled import Loop

InputAxis = tuple[str, str]
"""An input of the net and one of its axes."""


class Since(str):
    """How a tensor differs at another size, and the node at which that begins."""

    node: str

    def __new__(cls, text: str, node: str) -> Since:
        found = super().__new__(cls, text)
        found.node = node
        return found


@dataclass(frozen=True, order=True)
class Obstacle:
    """An operator that makes exact block-wise running impossible on an axis.

    layer: module path. op: operator. axis. cause: one of `Cause`. message: what happens there. source: "file:line"
    or "". help: what would make it local.

    >>> print(oc.analyze(nn.AdaptiveAvgPool1d(4), (1, 3, 32)).obstacles[0].cause)
    adaptive-pooling
    """

    layer: str
    op: str
    axis: str
    cause: str
    message: str
    source: str = ""
    help: str = ""

    def to_dict(self) -> dict[str, str]:
        return asdict(self)

    def __str__(self) -> str:
        at = f" ({self.source})" if self.source else ""
        return f"{self.layer}: {self.op} on {self.axis}: {self.message}{at}"


@dataclass(frozen=True)
class Reads:
    """What a cell reads of one input along one axis.

    reads: hulls per output phase, None for nothing. sure: the part of them known to be real; the reads are exact
    where both agree. via: obstacles on the way. hidden: phases that read nothing on one branch are covered by
    another. made: something in it was made for the size of the image along this axis (a noise level spread over it,
    say), of which only the obstacles on its way count. carried: operators on the way through whose state all samples
    before are read, too; then only where `reads` ends counts (see `propagate(carried=True)`).

    >>> causal, ahead = IndexMap.window(3, padding=2), IndexMap.window(3)
    >>> (Reads(causal, causal) | Reads(ahead, ahead)).reads.reads(0, 1)  # two branches that join
    Span(start=-2, stop=3)
    """

    reads: IndexMap | None = None
    sure: IndexMap | None = None
    via: frozenset[Obstacle] = frozenset()
    hidden: bool = False
    made: bool = False
    carried: frozenset[Obstacle] = frozenset()

    def __bool__(self) -> bool:
        return self.reads is not None or bool(self.via)

    def __or__(self, other: Reads) -> Reads:
        if self.made != other.made:
            return replace(self, made=True) | replace(other, made=True)
        if not other or self is other:
            return self
        if not self:
            return other
        hidden = self.hidden or other.hidden or _holes(self.reads) != _holes(other.reads)
        reads = _union(self.reads, other.reads)
        exact = self.sure is self.reads and other.sure is other.reads
        sure = reads if exact else _union(self.sure, other.sure)
        both = Reads(reads, sure, self.via | other.via, hidden, self.made, self.carried | other.carried)
        return self if both == self else other if both == other else both


NOTHING = Reads()
MADE = Reads(made=True)
InputReads = tuple[Reads, ...]


def _union(a: IndexMap | None, b: IndexMap | None) -> IndexMap | None:
    if a is None or b is None:
        return a if b is None else b
    if a is b or a == b:
        return a
    if (a.period, a.advance) == (b.period, b.advance):
        hulls = tuple((p | q).filled() for p, q in zip(a.phases, b.phases, strict=True))
        if hulls in (a.phases, b.phases):
            return a if hulls == a.phases else b
        both = IndexMap(a.period, a.advance, hulls)
        return both.reduced() if a.period > 1 else both
    return (a | b).hulls().reduced()


def _holes(reads: IndexMap | None) -> tuple[bool, ...]:
    if reads is None or all(reads.phases):
        return ()
    return tuple(bool(p) for p in reads.phases)


def joined_reads(a: InputReads, b: InputReads) -> InputReads:
    out = tuple(x | y for x, y in zip(a, b, strict=True))
    for one in (a, b):
        if all(x is y for x, y in zip(out, one, strict=True)):
            return one
    return out


@dataclass(frozen=True)
class AxisRead:
    """One axis of a path: how the output's axis reads the operand's. picks: its operator takes samples one by one, so
    that what a part of it reads need not hang together. carried: through a state that a stream carries, it depends on
    all samples before, too. ends: outputs near the ends that read something else at this size, and what."""

    reads: IndexMap
    border: Border = Border.CONSTANT
    least: int = 1
    picks: bool = False
    carried: bool = False
    ends: Mapping[int, Spans] = field(default_factory=dict)

    def real(self, outputs: Spans, size: int) -> tuple[Spans, bool, bool]:
        """What outputs read of an operand of this size, and whether they cross its first end, its last end."""
        if not self.ends:
            return self.border.fold(self.reads.over(outputs), size)
        here = [o for o in outputs.indices() if o in self.ends]
        inside = self.reads.over(Spans.points(o for o in outputs.indices() if o not in self.ends))
        read, left, right = self.border.fold(inside, size)
        return reduce(or_, (self.ends[o] for o in here), read), left, right


@dataclass(frozen=True)
class Path:
    """One link of a call, resolved: the operand's node, what is read along each axis, obstacles per axis, and the
    cells. states: axes along which all samples before are read through a state, and the obstacle that this is."""

    operand: str
    axes: Mapping[str, AxisRead]
    obstructed: Mapping[str, Obstacle]
    cells: CellMap
    exact: bool = True
    states: Mapping[str, Obstacle] = field(default_factory=dict)


NO_LAW = Law(())


@dataclass(frozen=True)
class TensorReads:
    """What is known about one tensor: what its dimensions are made of, its rate per axis, what its cells read."""

    layout: Factoring
    rates: Mapping[str, Rate]
    cells: Field[InputReads]
    paths: tuple[Path, ...] = ()
    law: Law = NO_LAW
    view: Reshape | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        return self.layout.labels

    def part_of(self, axis: str) -> int | None:
        """The index of the part that an axis is."""
        return self.labels.index(axis) if axis in self.labels else None


@dataclass(frozen=True)
class Propagation:
    """Every tensor's reads, the slots (input and axis) that index them, the tied rates, and the obstacles in order.

    traced: the graph as it was given. graph: the same with views taken apart where they cut or join an axis. mirrored:
    the axes along which a tensor is followed from its other end, of tensors with such (see mirrors.py). loops: by axis,
    the loop that takes its samples a few at a time; along this axis the outputs are linked with the inputs alone (see
    looped.py).
    """

    traced: Graph
    graph: Graph
    slots: tuple[InputAxis, ...]
    values: Mapping[str, TensorReads]
    rates: RateTies
    obstacles: tuple[Obstacle, ...]
    names: Mapping[str, str]
    mirrored: Mapping[str, frozenset[str]] = field(default_factory=dict)
    loops: Mapping[str, Loop] = field(default_factory=dict)

    def size(self, node: str, axis: str) -> int | None:
        layout = self.values[node].layout
        return layout.sizes[layout.labels.index(axis)] if axis in layout.labels else None


def joined(net: Propagation, node: str) -> InputReads:
    """What a tensor reads, all its cells together, one Reads per slot."""
    return net.values[node].cells.union(joined_reads)


def reads_between(net: Propagation, output: str, input: str, axis: str) -> Reads:
    """What node `output`, all its cells together, reads of an input along an axis."""
    return dict(zip(net.slots, joined(net, output), strict=True)).get((input, axis), NOTHING)
