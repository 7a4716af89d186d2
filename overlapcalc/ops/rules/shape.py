"""Views and rearrangements of dimensions.

A view says which dimensions hold the same samples in the same order. What that does to an axis depends on what the
dimensions are made of, which the propagator knows (see algebra/reshape.py).
"""

from __future__ import annotations

from ...algebra.cells import Runs, runs
from ...algebra.index_map import IndexMap
from ..call import Call
from ..facts import describe, spelling
from ..graph import Node
from ..kind import Masking
from ..law import Cause, DimRead, Law, Link, Obstruction
from ..orders import PERMUTING, order_of
from ..registry import rule
from ..slab import Slab, Tensor, by_itself, on_slab


@rule(
    "aten::view", "aten::_unsafe_view", "aten::reshape", "aten::_reshape_alias", "aten::view_copy", "aten::ravel",
    shown=False, sizes=("size", "shape"),
)  # fmt: skip
def view(call: Call) -> Law:
    """Where only the shapes are known, equal dimensions are matched from the right, then runs from the left."""
    old, new = call.shapes[0], call.shape
    same = 0
    while same < min(len(old), len(new)) and old[-1 - same] == new[-1 - same]:
        same += 1
    first = runs(old[: len(old) - same], new[: len(new) - same])
    return _viewed(first + [([len(old) - k], [len(new) - k]) for k in range(same, 0, -1)])


@rule("aten::flatten", shown=False)
def flatten(call: Call) -> Law:
    n = len(call.shapes[0])
    first, last = int(call["start_dim"]) % n, int(call["end_dim"]) % n
    found: Runs = [([d], [d]) for d in range(first)]
    found.append((list(range(first, last + 1)), [first]))
    return _viewed(found + [([d], [d - last + first]) for d in range(last + 1, n)])


@rule("aten::unflatten", shown=False, sizes=("sizes",))
def unflatten(call: Call) -> Law:
    n, d = len(call.shapes[0]), call.dim()
    more = len(call.shape) - n
    found: Runs = [([e], [e]) for e in range(d)]
    found.append(([d], list(range(d, d + more + 1))))
    return _viewed(found + [([e], [e + more]) for e in range(d + 1, n)])


@rule("aten::unsqueeze", shown=False)
def unsqueeze(call: Call) -> Law:
    n = len(call.shape)
    d = int(call["dim"]) % n
    return _viewed([([], [t]) if t == d else ([t - (t > d)], [t]) for t in range(n)])


@rule("aten::squeeze", shown=False)
def squeeze(call: Call) -> Law:
    shape = call.shapes[0]
    gone = {d for d in call.dims() if shape[d] == 1 and call["dim"] != ()}  # an empty list names none
    kept = [d for d in range(len(shape)) if d not in gone]
    return _viewed([([d], [kept.index(d)] if d in kept else []) for d in range(len(shape))])


def _viewed(runs: Runs) -> Law:
    return Law((Link(0, (), runs=tuple((tuple(old), tuple(new)) for old, new in runs)),))


@rule(*PERMUTING, shown=False)
def permute(call: Call) -> Law:
    return Law((Link(0, tuple(DimRead(s, t, IndexMap.identity()) for t, s in enumerate(order_of(call)))),))


@rule("aten::expand", "aten::expand_as", "aten::broadcast_to", shown=False, sizes=("size",))
def expand(call: Call) -> Law:
    """Of `other`, only the shape matters."""
    at = call.position("self")
    links = [link for link in call.broadcast(constants=False).links if link.operand == at]
    return Law(tuple(links), unread=frozenset({"other"}))


@rule("aten::repeat", "aten::tile", sizes=("repeats", "dims"))
def repeat(call: Call) -> Law:
    """Index i reads i modulo the old length."""
    n, shape = len(call.shape), call.shapes[0]
    dims = [DimRead(None, t) for t in range(n - len(shape))]
    for s, size in enumerate(shape):
        t = n - len(shape) + s
        if call.shape[t] == size:
            dims.append(DimRead(s, t, IndexMap.identity()))
        else:
            why = Obstruction(Cause.CONCATENATION, "repeats the image end to end along the axis")
            table = IndexMap.table([[i % size] for i in range(call.shape[t])])
            dims.append(DimRead(s, t, table, obstruction=why, here=table, picks=True))
    return Law((Link(0, tuple(dims)),))


@rule("aten::flip", "aten::roll", "aten::fliplr", "aten::flipud", shown=False)
def reorder(call: Call) -> Law:
    """Flips and rolls of channels are tables; along a spatial axis they tear neighbours apart."""
    n, shape = len(call.shape), call.shapes[0]
    changed = _changed(call)
    if changed is None:
        return Law((Link(0, tuple(DimRead(d, d, None, obstruction=Obstruction(Cause.REORDER, "rolls the image"))
                                  for d in range(n))),))  # fmt: skip
    dims = []
    for d in range(n):
        if d not in changed:
            dims.append(DimRead(d, d, IndexMap.identity()))
            continue
        by, size = changed[d], shape[d]
        if by is None:
            dims.append(_flipped(d, d, size, "flips the axis"))
            continue
        table = IndexMap.table([[_moved(i, by, size)] for i in range(size)])
        why = Obstruction(Cause.REORDER, "rolls the axis")
        dims.append(DimRead(d, d, table, obstruction=why, here=table, picks=True))
    return Law((Link(0, tuple(dims)),))


def _flipped(source: int, target: int, size: int, said: str) -> DimRead:
    table = IndexMap.table([[_moved(o, None, size)] for o in range(size)])
    why = Obstruction(Cause.REORDER, said)
    return DimRead(source, target, table, obstruction=why, here=table, picks=True, mirrors=True)


@rule("aten::rot90", shown=False)
def rot90(call: Call) -> Law:
    """Flips and a transposition: four of them, or two and two, leave everything as it was."""
    order, flips = _rotated(call)
    dims = (
        _flipped(s, t, call.shape[t], "rotates the image") if s in flips else DimRead(s, t, IndexMap.identity())
        for t, s in enumerate(order)
    )
    return Law((Link(0, tuple(dims)),))


def _rotated(call: Call) -> tuple[list[int], set[int]]:
    """The dimension of the operand that each dimension of the result is, and those of the operand that are flipped."""
    order, k = list(range(len(call.shape))), int(call["k"]) % 4
    a, b = call.dims("dims")
    if k % 2:
        order[a], order[b] = b, a
    return order, {0: set(), 1: {b}, 2: {a, b}, 3: {a}}[k]


@on_slab("aten::rot90")
def rot90_on_slab(slab: Slab) -> Tensor:
    """Every sample by its place in the image."""
    call = slab.call
    order, flips = _rotated(call)
    places = {
        s: [_moved(o, None, call.shape[t]) for o in range(*(slab.span(t) or (0, call.shape[t])))]
        for t, s in enumerate(order)
        if s in flips
    }
    return slab.picked(places).permute(order)


def _moved(o: int, by: int | None, size: int) -> int:
    """The sample that output o of a roll copies, or of a flip, which has no `by`."""
    return size - 1 - o if by is None else (o - by) % size


def _changed(call: Call) -> dict[int, int | None] | None:
    """The dimensions that a flip or roll changes, and by how much a roll moves each; None for anything else."""
    op = call.node.op
    if op in ("aten::fliplr", "aten::flipud"):
        return {1 if op == "aten::fliplr" else 0: None}
    if op == "aten::flip":
        return dict.fromkeys(call.dims("dims") if call["dims"] else ())  # an empty list names none
    if op == "aten::roll" and call["dims"]:
        by: dict[int, int] = {}
        for d, shift in zip(call.dims("dims"), call["shifts"], strict=True):
            by[d] = by.get(d, 0) + int(shift)  # a dimension may be named twice
        return {**by}
    return None


@on_slab("aten::flip", "aten::roll", "aten::fliplr", "aten::flipud")
def reorder_on_slab(slab: Slab) -> Tensor:
    """Every sample by its place in the image."""
    call, places = slab.call, {}
    changed = _changed(call)
    if changed is None:
        raise slab.none("rolls the image as one long row")
    for d, by in changed.items():
        places[d] = [_moved(o, by, call.shape[d]) for o in range(*(slab.span(d) or (0, call.shape[d])))]
    found = by_itself(slab, places)
    return slab.picked(places) if found is None else found


@rule("aten::repeat_interleave", sizes=("output_size",))
def repeat_interleave(call: Call) -> Law:
    """Index i reads i // repeats, as nearest upsampling does. Without a dimension it flattens first."""
    if call["dim"] is None and len(call.shapes[0]) != 1:
        why = Obstruction(Cause.RESHAPE, "repeats the samples of a flattened image")
        dims = tuple(DimRead(s, None, None, obstruction=why) for s in range(len(call.shapes[0])))
        return Law((Link(0, (*dims, DimRead(None, 0)), exact=False),))
    return call.local({int(call["dim"] or 0): IndexMap.repeat(int(call["repeats"]))})


@spelling("aten::view", "aten::_unsafe_view", "aten::_reshape_alias", "aten::view_copy")
def reshaped(_: Node) -> str:
    """One name for all of them: which one torch calls depends on the size of the image."""
    return "aten::reshape"


@on_slab("aten::view", "aten::_unsafe_view", "aten::reshape", "aten::_reshape_alias", "aten::view_copy", "aten::ravel",
      "aten::flatten", "aten::unflatten", "aten::im2col")  # fmt: skip
def view_on_slab(slab: Slab) -> Tensor:
    """The parts of the dimensions keep their order; only their sizes differ on a slab."""
    return slab.fetch().reshape(slab.shape)


@on_slab("aten::permute", "aten::permute_copy")
def permute_on_slab(slab: Slab) -> Tensor:
    return slab.fetch().permute(slab.call.dims("dims"))


@on_slab("aten::expand", "aten::expand_copy", "aten::expand_as", "aten::broadcast_to")
def expand_on_slab(slab: Slab) -> Tensor:
    return slab.fetch().expand(slab.shape)


@on_slab("aten::repeat", "aten::tile")
def repeat_on_slab(slab: Slab) -> Tensor:
    """A repeated axis sample by sample; the other dimensions by the operator."""
    call = slab.call
    old, new = call.shapes[0], call.shape
    moved, places, name = len(new) - len(old), {}, "repeats" if "repeats" in call.node.args else "dims"
    times = [new[moved + s] // size for s, size in enumerate(old)]
    for s, size in enumerate(old):
        span = slab.span(moved + s)
        if span is not None:
            places[s], times[s] = [o % size for o in range(*span)], 1
    return slab.run(self=slab.picked(places), **{name: [*new[:moved], *times]})


@on_slab("aten::repeat_interleave")
def repeat_interleave_on_slab(slab: Slab) -> Tensor:
    d, times = int(slab.call["dim"] or 0) % len(slab.call.shape), int(slab.call["repeats"])
    if slab.span(d) is None:
        return slab.run()
    return slab.resampled(slab.fetch(), d, slab.begins(0, d), lambda o: {o // times: 1.0})


describe("aten::view", "aten::_unsafe_view", "aten::reshape", "aten::_reshape_alias", "aten::flatten",
         "aten::unflatten", "aten::unsqueeze", "aten::squeeze", *PERMUTING, "aten::expand", "aten::expand_as",
         "aten::broadcast_to", masking=Masking.MOVES)  # fmt: skip
