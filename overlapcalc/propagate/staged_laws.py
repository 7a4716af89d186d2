"""Laws of operators that a stage computes in another way: beside their statistics, or from a state that is carried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..algebra.index_map import IndexMap
from ..algebra.reshape import Factoring
from ..ops.law import DimRead, Law, Link


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


def _over(layout: Factoring, dim: DimRead, axis: str) -> bool:
    return dim.obstruction is not None and dim.source is not None and axis in layout.axes_of(dim.source)
