"""Backward through the graph over all axes at once: exactly which points of every input some outputs need.

`backward` follows each axis on its own; where masks and branches make what is read no product of axes, the product of
its answers is larger than the truth. Here every tensor's need is a union of products. Each path still reads a product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ..algebra.boxes import NOWHERE, Boxes
from ..algebra.cells import Field
from ..algebra.spans import Spans
from .values import AxisRead, Path, Propagation

MOST_PRODUCTS = 4096
"""A need of more products than this is widened to the box around it."""


@dataclass(frozen=True)
class JointReads:
    """What is read of each input, over the axes in the order asked for. exact: all of it is, not only at most."""

    reads: Mapping[str, Boxes]
    exact: bool


def joint(net: Propagation, output: str, axes: Sequence[str], outputs: Boxes, *, sized: bool) -> JointReads:
    """What `outputs` of node `output` need. sized: at the traced size, borders included; otherwise far from them.

    The axes must be free of obstacles between this output and the inputs asked about.
    """
    wanted: dict[str, Field[Boxes]] = {output: Field.one(net.values[output].cells.shape, outputs)}
    reads: dict[str, Boxes] = {}
    exact = True
    for name in reversed(net.graph.order):
        field = wanted.pop(name, None)
        if field is None or not any(field.values):
            continue
        if net.graph[name].op == "input":
            reads[name] = field.union(Boxes.__or__)
            continue
        for path in net.values[name].paths:
            maps = _maps(net, path, axes, sized)
            if maps is None:
                continue
            pulled = field.map(partial(_pulled, maps))
            if not any(pulled.values):
                continue
            needed = path.cells.scatter(pulled, Boxes.__or__, NOWHERE)
            old = wanted.get(path.operand)
            needed = needed if old is None else old.merge(needed, Boxes.__or__)
            narrow = needed.map(_narrowed)
            exact = exact and path.exact and narrow.values == needed.values
            wanted[path.operand] = narrow
    return JointReads(reads, exact)


def _maps(net: Propagation, path: Path, axes: Sequence[str], sized: bool) -> list[Callable[[Spans], Spans]] | None:
    """What the path reads along each axis; None where it does not have them all."""
    if any(axis not in path.axes for axis in axes):
        return None
    return [partial(_pull, path.axes[axis], net.size(path.operand, axis) if sized else None) for axis in axes]


def _pull(along: AxisRead, size: int | None, outs: Spans) -> Spans:
    return along.reads.over(outs) if size is None else along.real(outs, size)[0]


def _pulled(maps: Sequence[Callable[[Spans], Spans]], need: Boxes) -> Boxes:
    return need.pulled(maps)


def _narrowed(need: Boxes) -> Boxes:
    """A need of too many products, as the box around it."""
    if sum(1 for _ in need.products()) <= MOST_PRODUCTS:
        return need
    hull = need.hull
    assert hull is not None
    return Boxes.of([Spans.span(*span) for span in hull])
