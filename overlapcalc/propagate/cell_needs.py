"""A net at one size with an axis followed sample by sample, as channels are: which outputs need which samples."""

from __future__ import annotations

from dataclasses import replace

from ..algebra.cells import Field
from ..algebra.spans import Spans
from ..ops.graph import Graph, Node
from .forward import Forward
from .left_out import LeftOut
from .through import cell_places
from .unrolled import OutputLaw
from .values import AxisRead


def uncut(graph: Graph, axis: str) -> Graph:
    """The same graph, in which an axis counts as a dimension like channels."""

    def plain(node: Node) -> Node:
        if node.op != "input":
            return node
        return replace(node, layout="".join("X" if letter == axis else letter for letter in node.letters))

    return Graph.of([plain(node) for node in graph], list(graph.outputs))


def by_cells(graph: Graph) -> Forward:
    """What follows a graph by the laws of its own size."""
    return Forward(graph, {}, {}, True, {}, True)


def followed_by_cells(graph: Graph) -> Forward:
    run = by_cells(graph)
    run.follow()
    return run


def needed(run: Forward, output: str, place: int, left: LeftOut | None = None) -> dict[str, Field[int]]:
    """For each tensor, which samples of an output need each of its cells: whole numbers, whose bit o stands for index o
    of the output's dimension of cells `place`. left: what masks leave out, which needs nothing."""
    values, known = run.values, {0: 0}

    def either(a: int, b: int) -> int:
        return known.setdefault(a | b, a | b)

    shape = values[output].cells.shape
    stored = tuple(n if d == place else 1 for d, n in enumerate(shape))
    wanted = {output: Field.of(shape, [1 << o for o in range(shape[place])], stored)}
    found: dict[str, Field[int]] = {}
    for node in reversed(run.nodes):
        field = wanted.pop(node.name, None)
        if field is not None and left is not None and node.name in left.of:
            field = field.merge(left.of[node.name], lambda mask, gone: 0 if gone else mask)
        if field is None or not any(field.values):
            continue
        found[node.name] = field
        for path in values[node.name].paths:
            weights = left.weights.get(node.name) if left is not None else None
            weighed = None if weights is None else weights.needed(field, path, values[path.operand].layout)
            through = path.cells.scatter(field, either, 0) if weighed is None else weighed
            old = wanted.get(path.operand)
            wanted[path.operand] = through if old is None else old.merge(through, either)
    return found


def bits_along(field: Field[int], place: int) -> list[int]:
    """The masks of all cells with the same index along a dimension, together."""
    everything = [tuple(range(n)) if d != place else None for d, n in enumerate(field.shape)]
    for d, picks in reversed(list(enumerate(everything))):
        if picks is not None:
            field = field.along(d, [picks], lambda a, b: a | b, 0)
    return list(field.spread(tuple(field.shape[place] if d == place else 1 for d in range(len(field.shape)))))


def within(graph: Graph, axis: str, laws: tuple[OutputLaw, ...]) -> bool:
    """Whether all outputs of a net at this size read no more along an axis than their laws say."""
    run = followed_by_cells(uncut(graph, axis))
    for (_, output), law in zip(graph.outputs, laws, strict=True):
        layout = run.values[output].layout
        (part,) = layout.places(law.dim) if layout.widths[law.dim] == 1 else (-1,)
        place = cell_places(layout.labels).get(part)
        if place is None:
            return False
        found, outputs = needed(run, output, place), layout.sizes[part]
        for name, reads in law.reads.items():
            d = graph[name].axes.index(axis)
            size = graph[name].shape[d]
            along = AxisRead(reads, ends=law.ends(name, outputs, size))
            field = found.get(name)
            masks = [] if field is None else bits_along(field, cell_places(run.values[name].labels)[d])
            for o in range(outputs):
                said = along.real(Spans.points([o]), size)[0]
                read = Spans.points([i for i, mask in enumerate(masks) if mask >> o & 1])
                if read | said != said:
                    return False
    return True
