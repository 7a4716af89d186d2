"""A net with a loop over the samples of an axis, given what its outputs read along that axis.

What the operators of a single turn read along the axis says little: a turn has a few samples, and the next one goes on
from what it kept. So along this axis the outputs are linked with the inputs alone.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from fractions import Fraction

from ..algebra.cell_map import CellMap, DimMap
from ..algebra.cells import Field
from ..algebra.rates import Rate
from ..algebra.reshape import CELL, Factoring, Part
from .through import cell_places
from .unrolled import Loop, OutputLaw
from .values import AxisRead, InputReads, Path, Propagation, Reads, TensorReads, joined_reads


def followed(net: Propagation, loop: Loop) -> Propagation | None:
    """The net, whose outputs are followed along the axis of the loop, and nothing else is; None where an output does
    not hold the axis in a dimension of its own."""
    axis, rates = loop.axis, copy.deepcopy(net.rates)
    component = rates.component()[0]
    first = next(n for n in loop.step.values() if n)
    values = {name: _without(value, axis) for name, value in net.values.items()}
    for name, step in loop.step.items():
        if step:
            rate = component, Fraction(step, first)
            rates.whole(rate, step)
            values[name] = replace(values[name], rates={**values[name].rates, axis: rate})
    for (_, node), law in zip(net.graph.outputs, loop.laws, strict=True):
        found = _linked(net, values[node], node, law, loop, (component, Fraction(law.out_step, first)))
        if found is None:
            return None
        rates.whole(found.rates[axis], law.out_step)
        values[node] = found
    obstacles = tuple(o for o in net.obstacles if o.axis != axis)
    return replace(net, values=values, rates=rates, obstacles=obstacles, loops={**net.loops, axis: loop})


def _without(value: TensorReads, axis: str) -> TensorReads:
    rates = {label: rate for label, rate in value.rates.items() if label != axis}
    return replace(value, rates=rates, paths=tuple(_apart(path, axis) for path in value.paths))


def _linked(
    net: Propagation, value: TensorReads, node: str, law: OutputLaw, loop: Loop, rate: Rate
) -> TensorReads | None:
    """What an output reads, with links to the inputs along the axis."""
    axis, layout = loop.axis, value.layout
    if layout.widths[law.dim] != 1 or axis in {
        x for d in range(len(layout.widths)) if d != law.dim for x in layout.axes_of(d)
    }:
        return None
    (place,) = layout.places(law.dim)
    cells, paths = value.cells, list(value.paths)
    if layout.labels[place] == CELL:
        k = cell_places(layout.labels)[place]
        cells = _united(cells, k)
        paths = [replace(path, cells=_gathered(path.cells, k)) for path in paths]
    labels = tuple(axis if i == place else label for i, label in enumerate(layout.labels))
    layout = Factoring(tuple(map(Part, layout.sizes, labels)), layout.widths)
    for name, reads in law.reads.items():
        least = loop.start[name]
        every = _all_to_all(net.values[name].cells.shape, cells.shape)
        ends = law.ends(name, layout.sizes[place], net.size(name, axis) or 0)
        paths.append(Path(name, {axis: AxisRead(reads, least=least, ends=ends)}, {}, every, law.exact))
    slots = net.slots

    def read(found: InputReads) -> InputReads:
        return tuple(
            _of_law(law, slot[0]) if slot[1] == axis else reads for slot, reads in zip(slots, found, strict=True)
        )

    margins = (*(m for m in value.law.margins if m[0] != place), (place, law.before, law.after))
    return replace(
        value,
        layout=layout,
        rates={**value.rates, axis: rate},
        cells=cells.map(read),
        paths=tuple(paths),
        law=replace(value.law, margins=margins),
    )


def _of_law(law: OutputLaw, input: str) -> Reads:
    reads = law.reads.get(input)
    return Reads(reads, reads if law.exact else None) if reads is not None else Reads()


def _apart(path: Path, axis: str) -> Path:
    """The path without what it reads along an axis."""
    axes = {label: read for label, read in path.axes.items() if label != axis}
    obstructed = {label: obstacle for label, obstacle in path.obstructed.items() if label != axis}
    return replace(path, axes=axes, obstructed=obstructed)


def _united(cells: Field[InputReads], k: int) -> Field[InputReads]:
    """The field without dimension k: all cells along it together."""
    nothing = tuple(Reads() for _ in cells.values[0])
    one = cells.along(k, [tuple(range(cells.shape[k]))], joined_reads, nothing)
    return Field((*one.shape[:k], *one.shape[k + 1 :]), one.values, (*one.stored[:k], *one.stored[k + 1 :]))


def _gathered(cells: CellMap, k: int) -> CellMap:
    """The same map to cells without dimension k."""
    shape = (*cells.shape_out[:k], *cells.shape_out[k + 1 :])
    if cells.flat:
        return _all_to_all(cells.shape_in, shape)
    pairs: list[tuple[int | None, int | None, DimMap]] = []
    for s, t, table in cells.pairs:
        if t == k:
            if s is not None:
                pairs.append((s, None, DimMap(None, table.n_in, 1)))
        else:
            pairs.append((s, t if t is None or t < k else t - 1, table))
    return CellMap(cells.shape_in, shape, tuple(pairs))


def _all_to_all(shape_in: tuple[int, ...], shape_out: tuple[int, ...]) -> CellMap:
    pairs: list[tuple[int | None, int | None, DimMap]] = [(s, None, DimMap(None, n, 1)) for s, n in enumerate(shape_in)]
    return CellMap(shape_in, shape_out, (*pairs, *((None, t, DimMap(None, 1, n)) for t, n in enumerate(shape_out))))
