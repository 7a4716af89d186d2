"""Laws of operators that a stage computes in another way: beside their statistics, or from a state that is carried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..algebra.index_map import IndexMap
from ..algebra.reshape import Factoring
from ..ops.call import Call
from ..ops.law import DimRead, Law, Link, keep


def beside_statistics(law: Law, layouts: Sequence[Factoring], axis: str, dims: int) -> Law:
    """Without the links that read all of the axis. The last operand is the statistics, which have no dimensions.

    layouts: of the operands. dims: the number of dimensions of the output.
    """
    own = [link for link in law.links if not any(_over(layouts[link.operand], dim, axis) for dim in link.dims)]
    given = Link(len(layouts) - 1, tuple(DimRead(None, t) for t in range(dims)))
    return replace(law, links=(*own, given))


def in_order(law: Law, layouts: Sequence[Factoring], axis: str) -> Law:
    """With the axis read sample by sample: what lies before is in the state."""
    links = []
    for link in law.links:
        layout = layouts[link.operand]
        dims = [
            DimRead(dim.source, dim.target, IndexMap.identity())
            if dim.target is not None and _over(layout, dim, axis)
            else dim
            for dim in link.dims
        ]
        links.append(replace(link, dims=tuple(dims)))
    return replace(law, links=tuple(links))


def with_states(law: Law) -> Law:
    """The law with what is carried along an output dimension said of that dimension.

    >>> from overlapcalc.ops.law import whole
    >>> keys = Link(1, (replace(whole(1, None, "reads every position"), carried=0), DimRead(None, 0)))
    >>> [(dim.source, dim.target) for dim in with_states(Law((keys,))).links[0].dims]
    [(1, 0)]
    """
    links = []
    for link in law.links:
        along = {dim.carried for dim in link.dims if dim.carried is not None and dim.source is not None}
        dims = [dim for dim in link.dims if dim.source is not None or dim.target not in along]
        links.append(
            replace(link, dims=tuple(dim if dim.carried is None else replace(dim, target=dim.carried) for dim in dims))
        )
    return replace(law, links=tuple(links))


def laid_like(law: Law, call: Call) -> Law:
    """With the samples of an operand of which only the shape matters, and which is the output's: the output is laid out
    as that is (`expand_as`)."""
    if not law.unread or any(link.runs is not None for link in law.links):
        return law
    known = {link.operand for link in law.links}
    like = [
        k for k in map(call.position, law.unread) if k is not None and k not in known and call.shapes[k] == call.shape
    ]
    return replace(law, links=(*law.links, *(Link(k, keep(len(call.shape))) for k in like)))


def _over(layout: Factoring, dim: DimRead, axis: str) -> bool:
    return dim.obstruction is not None and dim.source is not None and axis in layout.axes_of(dim.source)
