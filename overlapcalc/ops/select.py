"""Indexing by constants and by data."""

from __future__ import annotations

from ..graph import Constant
from ..index import IndexMap
from .call import Call
from .law import Block, Cause, DimRead, Law, Link, keep
from .registry import rule

DATA_DEPENDENT = Block(Cause.INDEXING, "reads positions that depend on data")


@rule("aten::index_select", shown=False)
def index_select(call: Call) -> Law:
    d, index = call.dim(), call["index"]
    n = len(call.shape)
    if isinstance(index, Constant) and index.indices is not None:
        size = call.shapes[0][d]
        table = IndexMap.table([[i % size] for i in index.indices])
        block = Block(Cause.INDEXING, "picks positions of the axis from a list")
        return Law((Link(0, keep(n, but={d: DimRead(d, d, table, block=block)})),))
    return _anywhere(call, (d,))


@rule("aten::index", "aten::_unsafe_index", shown=False)
def index(call: Call) -> Law:
    """`x[:, idx]` with one constant list is a table of channels; anything else reads anywhere."""
    places = call["indices"]
    used = [d for d, i in enumerate(places) if i is not None]
    if isinstance(call["self"], Constant):
        return _looked_up(call, used)
    n = len(call.shapes[0])
    if len(used) == 1 and len(call.shape) == n:
        d, value = used[0], places[used[0]]
        if isinstance(value, Constant) and value.indices is not None and len(value.shape) == 1:
            size = call.shapes[0][d]
            table = IndexMap.table([[i % size] for i in value.indices])
            block = Block(Cause.INDEXING, "picks positions of the axis from a list")
            return Law((Link(0, keep(n, but={d: DimRead(d, d, table, block=block)})),))
    return _anywhere(call, tuple(used))


def _looked_up(call: Call, used: list[int]) -> Law:
    """A table (a codebook, say) that is looked up by data: index by index, wherever the indices end up in the result.

    They come first, or where the one dimension is that they index, or the several in a row.
    """
    ranks = [len(shape) for shape in call.shapes]
    together = used == list(range(used[0], used[0] + len(used)))
    first, rank, n = used[0] if together else 0, max(ranks), len(call.shape)
    links = []
    for k, shape in enumerate(call.shapes):
        targets = [first + rank - len(shape) + s for s in range(len(shape))]
        dims = [
            DimRead(s, t, None, block=DATA_DEPENDENT) if shape[s] == 1 and call.shape[t] > 1
            else DimRead(s, t, IndexMap.identity())
            for s, t in enumerate(targets)
        ]  # fmt: skip
        links.append(Link(k, (*dims, *(DimRead(None, t) for t in range(n) if t not in targets))))
    return Law(tuple(links))


@rule("aten::embedding", shown=False)
def embedding(call: Call) -> Law:
    """Every index is looked up for itself; what is found there is a new last dimension."""
    if not isinstance(call["weight"], Constant):
        return _anywhere(call, tuple(range(len(call.shapes[0]))))
    n = len(call.shape)
    return Law((Link(0, (*keep(n - 1), DimRead(None, n - 1))),))


@rule("aten::gather", "aten::scatter", "aten::scatter_add", "aten::scatter_reduce", "aten::take_along_dim", shown=False)
def along_one(call: Call) -> Law:
    """Data says which index along one dimension; along the others everything stays in its place."""
    d = call.dim()
    links = []
    for k, shape in enumerate(call.shapes):
        n = len(shape)
        own = call.node.op != "aten::gather" and k == call.position("self")
        dim = DimRead(d, d, IndexMap.identity()) if own else DimRead(d, d, None, block=DATA_DEPENDENT)
        if call.node.op == "aten::gather" and k == call.position("index"):
            dim = DimRead(d, d, IndexMap.identity())
        links.append(Link(k, keep(n, but={d: dim})))
    n = len(call.shape)
    constants = [v for v in call.node.args.values() if isinstance(v, Constant) and len(v.shape) == n]
    parts = [call.placed(v, {e: e for e in range(n) if e != d}) for v in constants]
    return Law(tuple(links), tuple(p for part in parts for p in part[0]), tuple(b for part in parts for b in part[1]))


def _anywhere(call: Call, used: tuple[int, ...]) -> Law:
    """Output dimensions are no longer those of the operand: only a shape-preserving index keeps the others."""
    same = len(call.shape) == len(call.shapes[0])
    links = []
    for k, shape in enumerate(call.shapes):
        dims = []
        for s in range(len(shape)):
            if k == 0 and same and s not in used:
                dims.append(DimRead(s, s, IndexMap.identity()))
            else:
                dims.append(DimRead(s, None, None, block=DATA_DEPENDENT))
        links.append(Link(k, tuple(dims), exact=False))
    return Law(tuple(links))


@rule("aten::index_put", "aten::_unsafe_index_put", shown=False)
def index_put(call: Call) -> Law:
    """`x[mask] = number` is `masked_fill`; anything else writes anywhere."""
    places, values = call["indices"], call["values"]
    at = call.positions("indices")
    one = isinstance(values, Constant) and all(n == 1 for n in values.shape)
    if one and len(places) == 1 and at[0] is not None and call.truths[at[0]] and call.shapes[at[0]] == call.shape:
        return call.broadcast()
    return _anywhere(call, tuple(range(max(len(s) for s in call.shapes))))


@rule("aten::index_add", "aten::index_copy", "aten::index_fill", "aten::index_reduce",
      "aten::masked_select", "aten::take", "aten::put", "aten::masked_scatter", "aten::bincount", "aten::nonzero",
      "aten::grid_sampler", "aten::grid_sampler_2d", "aten::grid_sampler_3d", "aten::affine_grid_generator",
      "aten::as_strided", "aten::histc", "aten::unique_consecutive", "aten::_unique2",
      "torchvision::deform_conv2d", "torchvision::roi_align", "torchvision::roi_pool", "torchvision::nms",
      shown=False)  # fmt: skip
def anywhere(call: Call) -> Law:
    return _anywhere(call, tuple(range(max(len(s) for s in call.shapes))))


@rule("aten::bernoulli", "aten::rand_like", "aten::randn_like", "aten::multinomial", "aten::poisson", "aten::normal",
      "aten::binomial", shown=False)  # fmt: skip
def random(call: Call) -> Law:
    law = call.identity()
    block = Block(Cause.RANDOM, "draws random numbers")
    return Law(law.links, blocks=tuple((d, block) for d in range(len(call.shape))))
