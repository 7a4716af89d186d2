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


@rule("aten::index", shown=False)
def index(call: Call) -> Law:
    """`x[:, idx]` with one constant list is a table of channels; anything else reads anywhere."""
    places = call["indices"]
    used = [d for d, i in enumerate(places) if i is not None]
    n = len(call.shapes[0])
    if len(used) == 1 and len(call.shape) == n:
        d, value = used[0], places[used[0]]
        if isinstance(value, Constant) and value.indices is not None and len(value.shape) == 1:
            size = call.shapes[0][d]
            table = IndexMap.table([[i % size] for i in value.indices])
            block = Block(Cause.INDEXING, "picks positions of the axis from a list")
            return Law((Link(0, keep(n, but={d: DimRead(d, d, table, block=block)})),))
    return _anywhere(call, tuple(used))


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


@rule("aten::gather", "aten::scatter", "aten::scatter_add", "aten::scatter_reduce", "aten::index_add",
      "aten::index_copy", "aten::index_put", "aten::masked_select", "aten::take", "aten::embedding",
      "aten::grid_sampler", "aten::grid_sampler_2d", "aten::grid_sampler_3d", "aten::masked_scatter",
      "aten::take_along_dim", "aten::bincount", "aten::nonzero", shown=False)  # fmt: skip
def anywhere(call: Call) -> Law:
    return _anywhere(call, tuple(range(max(len(s) for s in call.shapes))))


@rule("aten::bernoulli", "aten::rand_like", "aten::randn_like", "aten::multinomial", "aten::poisson", "aten::normal",
      "aten::binomial", shown=False)  # fmt: skip
def random(call: Call) -> Law:
    law = call.identity()
    block = Block(Cause.RANDOM, "draws random numbers")
    return Law(law.links, blocks=tuple((d, block) for d in range(len(call.shape))))
