"""Indexing by constants and by data."""

from __future__ import annotations

from ...algebra.index_map import IndexMap
from .. import law
from ..call import Call
from ..facts import describe
from ..graph import Constant
from ..kind import Kind
from ..law import Cause, DimRead, Law, Link, Obstruction, keep
from ..registry import rule
from ..slab import Slab, Tensor, by_itself, on_slab

DATA_DEPENDENT = Obstruction(Cause.INDEXING, "reads positions that depend on data")


LISTED = Obstruction(Cause.INDEXING, "picks positions of the axis from a list")


@rule("aten::index_select", shown=False)
def index_select(call: Call) -> Law:
    d, n = int(call["dim"]) % len(call.shape), len(call.shape)
    places = (*call.place("self", {e: e for e in range(n) if e != d}), *call.place("index", {0: d}))
    table = _listed(call, "self", d, call["index"])
    if table is not None:
        return Law((Link(0, keep(n, but={d: table})),), places=call.place("index"))
    if call.position("self") is None:  # a constant table, looked up by data
        return Law((Link(0, (DimRead(0, d, IndexMap.identity()), *(DimRead(None, t) for t in range(n) if t != d))),),
                   places=places)  # fmt: skip
    links = [Link(0, keep(n, but={d: DimRead(d, d, None, obstruction=DATA_DEPENDENT)}), exact=False)]
    links += [_all_of(call, k) for k in range(1, len(call.shapes))]
    return Law(tuple(links), places=places)


def _listed(call: Call, of: str, d: int, index: object) -> DimRead | None:
    """A dimension of data that is indexed by a constant list."""
    if not isinstance(index, Constant) or index.indices is None or len(index.shape) != 1 or call.position(of) is None:
        return None
    size = call.shapes[0][d]
    table = IndexMap.table([[i % size] for i in index.indices])
    return DimRead(d, d, table, obstruction=LISTED, here=table, picks=True)


def _all_of(call: Call, operand: int) -> Link:
    """Which samples are read depends on data."""
    return law.anywhere(operand, len(call.shapes[operand]), len(call.shape), DATA_DEPENDENT)


@rule("aten::index", "aten::_unsafe_index", shown=False)
def index(call: Call) -> Law:
    """`x[:, idx]` with one constant list is a table of channels; a constant looked up by data is read index by index.

    The indices, broadcast together, come first in the result, or in place of the dimensions that they index if those
    are adjacent. Whatever else is indexed by data, or by more than a list, may be read anywhere.
    """
    indices = call["indices"]
    used = [d for d, i in enumerate(indices) if i is not None]
    kept, where = _indexed(call, used)
    if kept is None:
        return Law(tuple(_all_of(call, k) for k in range(len(call.shapes))))
    places = list(call.place("self", kept))
    for i in used:
        if isinstance(indices[i], Constant):
            m = len(indices[i].shape)
            places += call.place("indices", {s: where[len(where) - m + s] for s in range(m)}, item=i)
    if isinstance(call["self"], Constant):
        return Law(tuple(_looking_up(call, k, where) for k in range(len(call.shapes))), places=tuple(places))
    table = _listed(call, "self", used[0], indices[used[0]]) if len(used) == 1 else None
    if table is not None:
        found = keep(len(call.shape), but={used[0]: table})
        return Law((Link(0, found),), places=call.place("indices", item=used[0]))
    dims = [DimRead(s, kept[s], IndexMap.identity()) for s in kept]
    dims += [DimRead(s, None, None, obstruction=DATA_DEPENDENT) for s in used]
    links = [Link(0, (*dims, *(DimRead(None, t) for t in where)), exact=False)]
    links += [_all_of(call, k) for k in range(1, len(call.shapes))]
    return Law(tuple(links), places=tuple(places))


def _indexed(call: Call, used: list[int]) -> tuple[dict[int, int] | None, list[int]]:
    """Where the dimensions that are not indexed end up, and which output dimensions come from the indices.

    None where the result has other dimensions than these: a mask takes the place of several.
    """
    at, self_at = call.positions("indices"), call.position("self")
    shape = call.shapes[self_at] if self_at is not None else call["self"].shape
    lengths = [call.shapes[at[i]] if at[i] is not None else call["indices"][i].shape for i in used]  # type: ignore[index]
    rank = max(map(len, lengths))
    others = [d for d in range(len(shape)) if d not in used]
    together = used == list(range(used[0], used[0] + len(used)))
    first = used[0] if together else 0
    kept = {d: i if i < first else i + rank for i, d in enumerate(others)}
    if len(call.shape) != len(others) + rank or any(shape[d] != call.shape[t] for d, t in kept.items()):
        return None, []
    return kept, list(range(first, first + rank))


def _looking_up(call: Call, operand: int, where: list[int]) -> Link:
    """Data that looks up a constant (a codebook, say): index by index, wherever the indices end up."""
    shape = call.shapes[operand]
    targets = where[len(where) - len(shape) :]
    dims = [
        DimRead(s, t, None, obstruction=DATA_DEPENDENT) if shape[s] == 1 and call.shape[t] > 1
        else DimRead(s, t, IndexMap.identity())
        for s, t in enumerate(targets)
    ]  # fmt: skip
    return Link(operand, (*dims, *(DimRead(None, t) for t in range(len(call.shape)) if t not in targets)))


@rule("aten::embedding", shown=False)
def embedding(call: Call) -> Law:
    """Every index is looked up separately; the row found is a new last dimension."""
    n = len(call.shape)
    places = (*call.place("weight", {1: n - 1}), *call.place("indices", {s: s for s in range(n - 1)}))
    if not isinstance(call["weight"], Constant):
        return Law(tuple(_all_of(call, k) for k in range(len(call.shapes))), places=places)
    return Law((Link(0, (*keep(n - 1), DimRead(None, n - 1))),), places=places)


@rule("aten::gather", shown=False)
def gather(call: Call) -> Law:
    """Index by index; along one dimension the index says which sample is read."""
    d, n = int(call["dim"]) % len(call.shape), len(call.shape)
    links = []
    for k, name in ((call.position(name), name) for name in ("self", "index")):
        if k is not None:
            anywhere = DimRead(d, d, None, obstruction=DATA_DEPENDENT)
            links.append(Link(k, keep(n, but={d: anywhere} if name == "self" else None)))
    every = {e: e for e in range(n)}
    beside = {e: e for e in range(n) if e != d}
    return Law(tuple(links), places=(*call.place("self", beside), *call.place("index", every)))


@rule("aten::scatter", "aten::scatter_add", "aten::scatter_reduce", shown=False)
def scatter(call: Call) -> Law:
    """Writes anywhere along one dimension, so what remains of `self` there depends on the index too."""
    d, n = int(call["dim"]) % len(call.shape), len(call.shape)
    own = call.position("self")
    links = []
    for k in range(len(call.shapes)):
        reads = IndexMap.identity() if k == own else None
        links.append(Link(k, keep(n, but={d: DimRead(d, d, reads, obstruction=DATA_DEPENDENT)}), exact=False))
    beside = {e: e for e in range(n) if e != d}
    places = [p for name in ("index", "src") for p in call.place(name, beside)]
    return Law(tuple(links), places=(*call.place("self", {e: e for e in range(n)}), *places))


@rule("aten::index_put", "aten::_unsafe_index_put", shown=False)
def index_put(call: Call) -> Law:
    """`x[mask] = number` is `masked_fill`; anything else writes anywhere."""
    places, values = call["indices"], call["values"]
    at = call.positions("indices")
    one = isinstance(values, Constant) and all(n == 1 for n in values.shape)
    if one and len(places) == 1 and at[0] is not None and call.truths[at[0]] and call.shapes[at[0]] == call.shape:
        return call.broadcast()
    return anywhere(call)


@rule("aten::index_add", "aten::index_copy", "aten::index_fill", "aten::index_reduce",
      "aten::masked_select", "aten::take", "aten::put", "aten::masked_scatter", "aten::bincount", "aten::nonzero",
      "aten::grid_sampler", "aten::grid_sampler_2d", "aten::grid_sampler_3d", "aten::affine_grid_generator",
      "aten::as_strided", "aten::histc", "aten::unique_consecutive", "aten::_unique2",
      "torchvision::deform_conv2d", "torchvision::roi_align", "torchvision::roi_pool", "torchvision::nms",
      shown=False)  # fmt: skip
def anywhere(call: Call) -> Law:
    return Law(tuple(_all_of(call, k) for k in range(len(call.shapes))))


describe("aten::as_strided", reads_memory=True)
describe("torchvision::deform_conv2d", kind=Kind.CONVOLUTION)
describe("torchvision::roi_pool", kind=Kind.ADAPTIVE_POOLING)


@rule("aten::bernoulli", "aten::rand_like", "aten::randn_like", "aten::multinomial", "aten::poisson", "aten::normal",
      "aten::binomial", shown=False)  # fmt: skip
def random(call: Call) -> Law:
    law = call.identity()
    why = Obstruction(Cause.RANDOM, "draws random numbers")
    return Law(law.links, obstructions=tuple((d, why) for d in range(len(call.shape))))


@on_slab("aten::index_select")
def index_select_on_slab(slab: Slab) -> Tensor:
    """A constant list along an axis: every sample by its place in the image."""
    call = slab.call
    d = int(call["dim"]) % len(call.shape)
    listed = _listed(call, "self", d, call["index"])
    return slab.plain() if slab.span(d) is None or listed is None else _picked(slab, d, listed)


@on_slab("aten::index", "aten::_unsafe_index")
def index_on_slab(slab: Slab) -> Tensor:
    used = [d for d, i in enumerate(slab.call["indices"]) if i is not None]
    listed = _listed(slab.call, "self", used[0], slab.call["indices"][used[0]]) if len(used) == 1 else None
    return slab.plain() if listed is None or slab.span(used[0]) is None else _picked(slab, used[0], listed)


def _picked(slab: Slab, d: int, listed: DimRead) -> Tensor:
    span = slab.span(d)
    assert span is not None
    assert listed.reads is not None
    found = by_itself(slab, [d])
    return slab.picked({d: [next(listed.reads[o].indices()) for o in range(*span)]}) if found is None else found
