"""Backward through the graph over all axes at once: exactly which points of every input some outputs need.

`backward` follows each axis on its own; where masks and branches make what is read no product of axes, the product of
its answers is larger than the truth. Here every tensor's need is a union of products. Each path still reads a product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import or_

from ..algebra.boxes import NOWHERE, Boxes
from ..algebra.cells import Field
from ..algebra.spans import Spans
from .backward import interior
from .backward import sized as sized_reads
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
    if len(axes) > 1 and net.loops.keys() & set(axes):
        return _apart(net, output, axes, outputs, sized)
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


def _apart(net: Propagation, output: str, axes: Sequence[str], outputs: Boxes, at_size: bool) -> JointReads:
    """The product of what is read along each axis, which is a bound: where outputs are linked with inputs along one
    axis at a time, no path has them all."""
    demand = sized_reads if at_size else interior
    every = [reduce(or_, along) for along in zip(*outputs.products(), strict=True)]
    found = [demand(net, output, axis, spans).reads for axis, spans in zip(axes, every, strict=True)]
    inputs = [name for name in net.graph.inputs if all(reads.get(name) for reads in found)]
    return JointReads({name: Boxes.of([reads[name] for reads in found]) for name in inputs}, False)


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
