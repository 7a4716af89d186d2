"""What samples of an output need of every tensor of a net, one by one, along an axis that is followed as cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..algebra.cells import Field
from ..ops.graph import Graph, Node
from .forward import Forward
from .left_out import LeftOut


def uncut(graph: Graph, axis: str) -> Graph:
    """The same graph, in which an axis counts as a dimension like channels."""

    def letters(node: Node) -> Node:
        if node.op != "input":
            return node
        return replace(node, layout="".join("X" if letter == axis else letter for letter in node.letters))

    return Graph.of([letters(node) for node in graph], list(graph.outputs))


def unfollowed(graph: Graph) -> Forward:
    """A forward pass by the laws of this size."""
    return Forward(graph, {}, {}, True, {}, True)


def needed(run: Forward, output: str, place: int, left: LeftOut | None = None) -> dict[str, Field[int]]:
    """For each tensor, which samples of an output need each of its cells: whole numbers, of which bit o is set for
    sample o. place: the cell dimension of the output that holds them."""
    values, known = run.values, {0: 0}

    def either(a: int, b: int) -> int:
        return known.setdefault(a | b, a | b)

    shape = values[output].cells.shape
    stored = tuple(n if d == place else 1 for d, n in enumerate(shape))
    wanted = {output: Field.of(shape, [1 << o for o in range(shape[place])], stored)}
    found: dict[str, Field[int]] = {}
    out: Mapping[str, Field[int]] = {} if left is None else left.of
    weights = {} if left is None else left.weights
    for node in reversed(run.nodes):
        field = wanted.pop(node.name, None)
        if field is not None and node.name in out:
            field = field.merge(out[node.name], lambda mask, gone: 0 if gone else mask)
        if field is None or not any(field.values):
            continue
        found[node.name] = field
        for path in values[node.name].paths:
            asked = None
            if node.name in weights:
                asked = weights[node.name].needed(field, path, values[path.operand].layout)
            if asked is None:
                asked = path.cells.scatter(field, either, 0)
            old = wanted.get(path.operand)
            wanted[path.operand] = asked if old is None else old.merge(asked, either)
    return found
