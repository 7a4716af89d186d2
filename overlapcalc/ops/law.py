"""What a rule says about an operator: its law, dimension by dimension.

A rule does not know which dimensions are space and which are channels. It says, for each operand, how each
dimension of the output depends on a dimension of the operand: by an index map, on all of it, or not at all. The
propagator takes the same law as mathematics on a spatial axis and as bookkeeping on channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum

from ..algebra.index_map import IndexMap
from ..algebra.spans import Spans
from .border import Border


class Cause(str, Enum):
    """Why an operator makes exact block-wise running impossible on an axis. A closed list.

    >>> Cause("align-corners").name
    'ALIGN_CORNERS'
    """

    GLOBAL = "global"
    ADAPTIVE_POOLING = "adaptive-pooling"
    ALIGN_CORNERS = "align-corners"
    RESIZE = "resize-to-size"
    FACTOR = "uneven-factor"
    SIZE_DEPENDENT = "size-dependent"
    SCALE_MISMATCH = "scale-mismatch"
    AXES_MIXED = "axes-mixed"
    REORDER = "reorder"
    CIRCULAR = "circular-padding"
    CONCATENATION = "concatenation"
    POSITION = "absolute-position"
    SELECTION = "selection"
    RESHAPE = "reshape"
    INDEXING = "data-dependent-indexing"
    RANDOM = "random"
    LOOP = "loop"


HELP = {
    Cause.GLOBAL: "use channels or a fixed window instead, or freeze what it computes from the whole image",
    Cause.ADAPTIVE_POOLING: "use a pooling with a fixed kernel and stride",
    Cause.ALIGN_CORNERS: "use align_corners=False with a fixed scale_factor",
    Cause.RESIZE: "resample by a fixed scale_factor",
    Cause.FACTOR: "give a scale_factor that floating-point numbers hold well: 4 / 3, not 1.3333334; 4, not 3.7",
    Cause.SIZE_DEPENDENT: "make the value independent of the image's size",
    Cause.SCALE_MISMATCH: "crop or resample one branch before they join",
    Cause.AXES_MIXED: "keep each spatial axis on a dimension of its own",
    Cause.REORDER: "leave the order of samples along the axis as it is",
    Cause.CIRCULAR: "use zero, reflect or replicate padding",
    Cause.CONCATENATION: "concatenate on channels, or pad with constants",
    Cause.POSITION: "make the constant periodic or constant along the axis",
    Cause.SELECTION: "keep the axis",
    Cause.RESHAPE: "keep the axis as a dimension of its own",
    Cause.INDEXING: "index channels, or use a fixed shift",
    Cause.RANDOM: "switch the randomness off in eval mode",
    Cause.LOOP: "analyse the module that the loop calls, with as many samples as it is given at a time",
}
"""The remedy for each cause."""
CARRY = "run it in order, with the state carried along the axis"
"""The remedy where what lies before is read through a state."""


@dataclass(frozen=True)
class Obstruction:
    """An obstacle if the dimension that carries it is a spatial axis. help: a remedy other than that of the cause.
    begins: the name of an earlier call that is its cause, if this one only comes to feel it."""

    cause: Cause
    message: str
    help: str = ""
    begins: str = ""


@dataclass(frozen=True)
class DimRead:
    """How output dimension `target` depends on operand dimension `source`.

    `reads` is the index map; None means that every output index reads every operand index. `source=None`: the
    operand is repeated along `target`. `target=None`: every output sample reads the whole operand dimension, which
    the output does not have. `least`: the smallest operand size on which the operator runs. `here`: what is read at
    this size, where an obstruction says that no law holds at every size: a table with a phase for each output; or a
    function that makes it when it is needed, or None where there is none. Most traces, some very long, need none.
    picks: on slabs the operator takes samples one by one (`Slab.picked`), from several spans if need be. otherwise: why
    there is no law, where another size shows that `reads` is none. mirrors: it turns the dimension end for end, an
    obstacle unless another turns it back. carried: what is read is not the whole dimension but, through a state, every
    index up to the output's own along this output dimension: bounded ahead, and not behind.

    >>> DimRead(3, 3, IndexMap.window(3, padding=1)).reads.reads(0, 1)  # W of a convolution
    Span(start=-1, stop=2)
    """

    source: int | None
    target: int | None
    reads: IndexMap | None = None
    border: Border = Border.CONSTANT
    obstruction: Obstruction | None = None
    least: int = 1
    here: IndexMap | Callable[[], IndexMap | None] | None = None
    picks: bool = False
    otherwise: Obstruction | None = None
    mirrors: bool = False
    carried: int | None = None

    @property
    def table(self) -> IndexMap | None:
        """What is read at this size, if a table says it."""
        return self.here() if callable(self.here) else self.here


class CellReads(str, Enum):
    """How the cells of an output read those of an operand.

    DIMS: as the link's DimReads say. REGROUP: they are the same cells in the same row-major order. COLLAPSE: every
    output cell may read every operand cell.
    """

    DIMS = "dims"
    REGROUP = "regroup"
    COLLAPSE = "collapse"


class Evenness(str, Enum):
    """Whether the cells of an operand read the same along the dimensions that a link does not keep."""

    EVEN = "even"
    UNEVEN = "uneven"


@dataclass(frozen=True)
class Link:
    """What the output takes from one operand (an index into the call's data operands).

    `exact=False`: the reads are only an upper bound. `only_for`: one of two forms of the same reads, a short one for
    even operands, or a long one for uneven ones; None: the only form. `runs`: the link is a view, whose runs of operand
    and output dimensions hold the same samples in row-major order; then it has no `dims`.
    """

    operand: int
    dims: tuple[DimRead, ...]
    cells: CellReads = CellReads.DIMS
    exact: bool = True
    only_for: Evenness | None = None
    runs: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] | None = None


@dataclass(frozen=True)
class Place:
    """Where a constant operand lies: its dimension s along output dimension `targets[s]`, index by index.

    argument: which operand; item: which one of an argument that is a list. Every sample of the output may read all of
    a dimension that is not among the targets (a kernel, a list of levels).
    """

    argument: str
    item: int | None = None
    targets: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Law:
    """What one call reads.

    `period`: pairs (d, n): a constant operand repeats along output dimension d every n samples. `obstructions`: pairs
    (d, why): an obstacle for every input if output dimension d is a spatial axis (absolute positions, randomness). A
    dimension may stand in several pairs.
    `by_size`: a factor was taken from sizes, so it holds only if a second trace confirms it; an obstacle where none
    could. `places`: where constant operands lie; from these the propagator adds periods and obstructions of its own. A
    constant that has no place and varies is refused: nobody knows where it lies.
    `unread`: names of arguments of which only the shape or the type matters. A data operand that is in neither
    `unread` nor a link may be read anywhere. `margins`: triples (d, before, after): a constant operand that is made for
    the size is another one so near to the ends of output dimension d; a tile must hold so much more.

    >>> law = Law((Link(0, keep(4, but={3: DimRead(3, 3, IndexMap.window(5, padding=2))})),))
    >>> law.links[0].dims[3].reads.reads(0, 1)
    Span(start=-2, stop=3)
    """

    links: tuple[Link, ...]
    period: tuple[tuple[int, int], ...] = ()
    obstructions: tuple[tuple[int, Obstruction], ...] = ()
    by_size: Obstruction | None = None
    places: tuple[Place, ...] = ()
    unread: frozenset[str] = frozenset()
    margins: tuple[tuple[int, int, int], ...] = ()


def keep(ndim: int, *, but: dict[int, DimRead] | None = None) -> tuple[DimRead, ...]:
    """Every dimension depends on itself, index by index, except those in `but`.

    >>> [(dim.source, dim.target) for dim in keep(2)]
    [(0, 0), (1, 1)]
    """
    changed = but or {}
    return tuple(changed.get(d, DimRead(d, d, IndexMap.identity())) for d in range(ndim))


def at_size(
    d: int, read: Callable[[int], Iterable[int]], outputs: int, why: Obstruction, reads: IndexMap | None
) -> DimRead:
    """Output o of so many reads the operand's samples `read(o)` at this size; at other sizes there is an obstacle.

    reads: the same for a dimension that is no axis, where it is known.

    >>> flip = at_size(2, lambda o: [3 - o], 4, Obstruction(Cause.REORDER, "flips the axis"), None)
    >>> flip.table.reads(0, 2)
    Span(start=2, stop=4)
    """
    return DimRead(d, d, reads, obstruction=why, here=lambda: IndexMap.table([read(o) for o in range(outputs)]))


def whole(source: int, target: int | None, what: str, cause: Cause = Cause.GLOBAL) -> DimRead:
    """Every output index reads all of the operand's dimension; an obstacle if that is a spatial axis.

    >>> whole(2, None, "mean over the whole axis").obstruction.cause.value
    'global'
    """
    return DimRead(source, target, None, obstruction=Obstruction(cause, what))


def carried(source: int, target: int, what: str) -> DimRead:
    """Every output index reads the operand's dimension up to its own index, through a state that it carries on; an
    obstacle if that is a spatial axis.

    >>> carried(2, 2, "sums up").obstruction.cause.value
    'global'
    """
    why = Obstruction(Cause.GLOBAL, what, CARRY)
    return replace(whole(source, target, what), obstruction=why, carried=target)


def anywhere(operand: int, dims_in: int, dims_out: int, why: Obstruction) -> Link:
    """Every output sample may read any sample of an operand."""
    dims = [DimRead(s, None, None, obstruction=why) for s in range(dims_in)]
    return Link(operand, (*dims, *(DimRead(None, t) for t in range(dims_out))), exact=False)


def drawn(ndim: int) -> tuple[tuple[int, Obstruction], ...]:
    """The obstructions of an operator that draws random numbers: every dimension."""
    return tuple((d, Obstruction(Cause.RANDOM, "draws at random: it is in training mode")) for d in range(ndim))


def per_channel(ndim: int) -> tuple[DimRead, ...]:
    """Index by index, with a constant per index of dimension 1: an obstacle where that is an axis."""
    why = Obstruction(Cause.POSITION, "has a constant of its own for every position of the axis")
    return keep(ndim, but={1: DimRead(1, 1, IndexMap.identity(), obstruction=why)} if ndim > 1 else None)


def channel_groups(size_in: int, size_out: int, groups: int, dim: int, what: str) -> DimRead:
    """Output channels of group g read all of the operand's channels of that group.

    >>> channel_groups(8, 4, 2, 1, "mixes the axis").reads.reads(2, 4)  # outputs 2 and 3 are the second group
    Span(start=4, stop=8)
    """
    if groups == 1:
        return whole(dim, dim, what)
    wide, out = size_in // groups, size_out // groups
    reads = IndexMap(out, wide, (Spans.span(0, wide),) * out)
    return DimRead(dim, dim, reads, obstruction=Obstruction(Cause.GLOBAL, what))
