"""Joining and splitting tensors along a dimension: cat, stack, split, chunk, unbind, glu."""

from __future__ import annotations

from ...algebra.index_map import IndexMap
from ...algebra.spans import EMPTY, Span, Spans
from ..call import Call
from ..facts import describe
from ..graph import Constant
from ..kind import Kind
from ..law import Cause, DimRead, Law, Link, Obstruction, Place, keep
from ..registry import rule
from ..slab import Slab, Tensor, by_itself, on_slab


def _length(value: object, shapes: tuple[tuple[int, ...], ...], at: int | None, d: int) -> int:
    if isinstance(value, Constant):
        return value.shape[d] if len(value.shape) > d else 0
    assert at is not None
    return shapes[at][d] if len(shapes[at]) > d else 0


NO_SAMPLE = IndexMap(1, 1, (EMPTY,))
"""What is read of an operand without samples."""


@rule("aten::cat", "aten::concat", "aten::concatenate", shown=False)
def cat(call: Call) -> Law:
    """Operand k begins at the sum of the lengths before it.

    Along a spatial axis this is a law only when a single operand is data: the others are then constant padding.
    """
    n, d = len(call.shape), int(call["dim"] or 0) % len(call.shape)
    positions = call.positions("tensors")
    lengths = [_length(value, call.shapes, at, d) for value, at in zip(call["tensors"], positions, strict=True)]
    joined = sum(p is not None and length > 0 for p, length in zip(positions, lengths, strict=True)) > 1
    why = Obstruction(Cause.CONCATENATION, "joins tensors end to end along the axis") if joined else None
    links, offset = [], 0
    places: list[Place] = []
    for i, (value, at) in enumerate(zip(call["tensors"], positions, strict=True)):
        if at is not None:
            reads = IndexMap.shift(-offset) if lengths[i] else NO_SAMPLE  # it may give the result its type
            dims = {d: DimRead(d, d, reads, obstruction=why if lengths[i] else None, here=reads)}
            links.append(Link(at, keep(n, but=dims)))
        else:  # along the joined dimension it lies beyond the data, where it may be anything
            whole = isinstance(value, Constant) and len(value.shape) == n
            places += call.place("tensors", {e: e for e in range(n) if e != d and whole}, item=i)
        offset += lengths[i]
    return Law(tuple(links), places=tuple(places))


describe("aten::cat", "aten::concat", "aten::concatenate", "aten::stack", kind=Kind.CONCATENATION)


@rule("aten::stack", shown=False)
def stack(call: Call) -> Law:
    n, d = len(call.shape), int(call["dim"] or 0) % len(call.shape)
    links = []
    places: list[Place] = []
    others = [t for t in range(n) if t != d]
    for k, at in enumerate(call.positions("tensors")):
        if at is None:
            places += call.place("tensors", dict(enumerate(others)), item=k)
            continue
        dims = [DimRead(s, t, IndexMap.identity()) for s, t in enumerate(others)]
        # the new dimension: index k of it holds this operand, seen as a dimension of length one at offset k
        links.append(Link(at, (*dims, DimRead(None, d, IndexMap.shift(-k)))))
    return Law(tuple(links), places=tuple(places))


def _part(call: Call, start: int) -> Law:
    """One piece of a tensor: a shift on channels; along a spatial axis a crop whose position depends on the size."""
    return call.local({call.dim(): IndexMap.shift(start)})


@rule("aten::split", "aten::chunk", "aten::tensor_split", "aten::unsafe_split", "aten::unsafe_chunk",
      shown=False, sizes=("split_size", "split_sizes", "chunks", "sections", "indices"))  # fmt: skip
def split(call: Call) -> Law:
    """Pieces of equal size, a number of pieces, pieces of listed sizes, or pieces between indices."""
    size, piece = call.shapes[0][call.dim()], call.node.result
    width = call["split_size"] if call["split_sizes"] is None else call["split_sizes"]
    if isinstance(width, tuple):
        return _part(call, sum(width[:piece]))
    if call["indices"] is not None:
        start = int(call["indices"][piece - 1]) if piece else 0
        return _part(call, min(max(start + size if start < 0 else start, 0), size))
    pieces = call["chunks"] or call["sections"]
    if call.node.op == "aten::tensor_split":
        small, longer = divmod(size, int(pieces))
        return _part(call, piece * small + min(piece, longer))
    return _part(call, piece * (-(-size // int(pieces)) if pieces else int(width)))


@rule("aten::split_with_sizes", "aten::unsafe_split_with_sizes", shown=False, sizes=("split_sizes",))
def split_with_sizes(call: Call) -> Law:
    return _part(call, sum(call["split_sizes"][: call.node.result]))


@rule("aten::unbind", shown=False)
def unbind(call: Call) -> Law:
    return pick(call, call.dim(), call.node.result)


@rule("aten::select", shown=False)
def select(call: Call) -> Law:
    d = call.dim()
    return pick(call, d, int(call["index"]) % call.shapes[0][d])


def pick(call: Call, d: int, index: int) -> Law:
    """One index of a dimension, which the output no longer has."""
    n = len(call.shapes[0])
    why = Obstruction(Cause.SELECTION, f"picks position {index} of the axis and drops the rest")
    dims = [DimRead(s, s - (s > d), IndexMap.identity()) for s in range(n) if s != d]
    return Law((Link(0, (*dims, DimRead(d, None, IndexMap.shift(index), obstruction=why))),))


@rule("aten::glu", shown=False)
def glu(call: Call) -> Law:
    """Index i of the halved dimension reads i and i + half."""
    d = call["dim"]
    d = len(call.shape) - 1 if d is None else int(d) % len(call.shape)
    half = call.shape[d]
    why = Obstruction(Cause.CONCATENATION, "folds one half of the axis onto the other")
    links = []
    for start in (0, half):
        reads = IndexMap.shift(start)
        links.append(Link(0, keep(len(call.shape), but={d: DimRead(d, d, reads, obstruction=why, here=reads)})))
    return Law(tuple(links))


@on_slab("aten::glu")
def glu_on_slab(slab: Slab) -> Tensor:
    """Along an axis, the region's part of both halves."""
    d = slab.call["dim"]
    d = len(slab.call.shape) - 1 if d is None else int(d) % len(slab.call.shape)
    span, half = slab.span(d), slab.call.shape[d]
    if span is None:
        return slab.plain()
    found = by_itself(slab, [d])
    if found is not None:
        return found
    return slab.run(self=slab.picked({d: [start + o for start in (0, half) for o in range(*span)]}))


@rule("aten::slice_scatter", shown=False, sizes=("start", "end"))
def slice_scatter(call: Call) -> Law:
    """Writes `src` into a slice of `self`: sample o is sample (o - start) / step of `src` where there is one.

    Into constants, that is a shift with a pad. Every step-th sample to the end, and the others from `self`, have a law
    too (inverse wavelet transforms are written that way). Replacing a part of an axis of data has none.
    """
    n, d = len(call.shape), int(call["dim"] or 0) % len(call.shape)
    size, step = call.shape[d], int(call["step"] or 1)
    start, count = _written(call, d)
    stop = start + step * count
    regular = start < step and stop >= size
    everything = regular and step == 1
    base, source = call.position("self"), call.position("src")
    why = Obstruction(Cause.POSITION, "writes into a part of the axis") if not regular and base is not None else None
    links = []
    if base is not None and not everything:
        if regular:
            left = tuple(EMPTY if o == start else Spans.span(o, o + 1) for o in range(step))
            dim = DimRead(d, d, IndexMap(step, step, left))
        else:
            dim = _cells(d, [[] if i in range(start, stop, step) else [i] for i in range(size)], why)
        links.append(Link(base, keep(n, but={d: dim})))
    if source is not None:
        reads = IndexMap.transposed([0], step, -start)
        links.append(Link(source, keep(n, but={d: DimRead(d, d, reads, obstruction=why, here=reads)})))
    every = {e: e for e in range(n)}
    places = (*call.place("self", every), *call.place("src", every))
    value = call.constant("src")
    stretched = value is not None and d < len(value.variation) and value.variation[d]
    period = ((d, step * stretched),) if stretched else ()  # a constant that is written to every step-th sample
    return Law(tuple(links), period, places=places, unread=frozenset({"self"} if everything else ()))


def _written(call: Call, d: int) -> tuple[int, int]:
    """Where a slice along dimension d begins, and how many samples it has."""
    size, step = call.shape[d], int(call["step"] or 1)
    start, end = int(call["start"] or 0), call["end"]
    start = min(max(start + size if start < 0 else start, 0), size)
    stop = size if end is None else min(max(end + size if end < 0 else int(end), 0), size)
    return start, len(range(start, stop, step))


@rule("aten::select_scatter", shown=False)
def select_scatter(call: Call) -> Law:
    """Writes `src` at one index of a dimension."""
    n = len(call.shape)
    d = int(call["dim"]) % n
    size = call.shape[d]
    index = int(call["index"]) % size
    why = Obstruction(Cause.POSITION, "writes into one place of the axis")
    base, source = call.position("self"), call.position("src")
    others = [e for e in range(n) if e != d]
    links = []
    if base is not None:
        links.append(Link(base, keep(n, but={d: _cells(d, [[i] if i != index else [] for i in range(size)], why)})))
    if source is not None:
        dims = [DimRead(s, t, IndexMap.identity()) for s, t in enumerate(others)]
        links.append(Link(source, (*dims, DimRead(None, d, IndexMap.shift(-index)))))
    places = (*call.place("self", {e: e for e in range(n)}), *call.place("src", dict(enumerate(others))))
    return Law(tuple(links), places=places)


def _cells(d: int, sources: list[list[int]], why: Obstruction | None) -> DimRead:
    """Index i reads exactly `sources[i]`: a table, for dimensions of channels, or at this size."""
    return DimRead(d, d, IndexMap.table(sources), obstruction=why, here=IndexMap.table(sources))


describe("aten::chunk", "aten::split", "aten::split_with_sizes", kind=Kind.SPLIT)
describe("aten::select", kind=Kind.PICK)


@on_slab("aten::split", "aten::chunk", "aten::tensor_split", "aten::unsafe_split", "aten::unsafe_chunk",
      "aten::split_with_sizes", "aten::unsafe_split_with_sizes")  # fmt: skip
def split_on_slab(slab: Slab) -> Tensor:
    """Along an axis, the piece is what is fetched; along channels all pieces are computed."""
    return slab.run() if slab.span(slab.call.dim()) is None else slab.fetch()


@on_slab("aten::cat", "aten::concat", "aten::concatenate")
def cat_on_slab(slab: Slab) -> Tensor:
    """Along an axis constants are joined to the ends of data: from each piece, what lies in the region."""
    call = slab.call
    d = int(call["dim"] or 0) % len(call.shape)
    out = slab.span(d)
    if out is None:
        return slab.run()
    pieces, start, operand = [], 0, 0
    for i, item in enumerate(call["tensors"]):
        data = not isinstance(item, Constant)
        size = call.shapes[operand][d] if data else item.shape[d]
        first, last = max(out.start - start, 0), min(out.stop - start, size)
        if first < last:
            span = Span(first, last)
            pieces.append(slab.fetch(operand, {d: span}) if data else slab.constant("tensors", i, {d: span}))
        elif data:
            pieces.append(slab.nothing(operand, d))
        start, operand = start + size, operand + data
    return slab.typed(slab.run(tensors=pieces))  # which a constant beyond the region, or without samples, may decide


@on_slab("aten::slice_scatter")
def slice_scatter_on_slab(slab: Slab) -> Tensor:
    """The part of the slice that lies in the region, written into the region's part of the rest."""
    call = slab.call
    d = int(call["dim"] or 0) % len(call.shape)
    out, step = slab.span(d), int(call["step"] or 1)
    base, source = call.position("self"), call.position("src")
    start, count = _written(call, d)
    if count == call.shape[d]:  # everything is overwritten, so there is no rest
        return slab.typed(slab.constant("src") if source is None else slab.fetch(source))
    if out is None:
        return slab.run()
    first = min(max(-(-(out.start - start) // step), 0), count)
    last = max(min(-(-(out.stop - start) // step), count), first)
    into = slab.typed(slab.constant("self")) if base is None else slab.fetch(base, {d: out})
    if first == last:
        return into if source is None else slab.run(self=into, src=slab.nothing(source, d), start=0, end=0)
    written = {d: Span(first, last)}
    src = slab.constant("src", spans=written) if source is None else slab.fetch(source, written)
    at = start + step * first - out.start
    return slab.run(self=into, src=src, start=at, end=at + step * (last - first - 1) + 1)


@on_slab("aten::select_scatter")
def select_scatter_on_slab(slab: Slab) -> Tensor:
    call = slab.call
    base, source = call.position("self"), call.constant("src")
    if source is not None and any(n > 1 for n in source.shape):
        raise slab.none("writes a constant that has dimensions")
    d = int(call["dim"]) % len(call.shape)
    out, index = slab.span(d), int(call["index"]) % call.shape[d]
    if out is None:
        return slab.run(self=slab.typed(slab.constant("self")) if base is None else slab.fetch(base))
    into = slab.typed(slab.constant("self")) if base is None else slab.fetch(base, {d: out})
    return slab.run(self=into, index=index - out.start) if index in out else into
