"""The names of a graph's nodes in tables and messages."""

from __future__ import annotations

from collections import Counter

from ..ops import Kind, find, kind_of, short_name
from ..ops.graph import Graph, Node
from ..ops.kind import WINDOWED


def node_names(graph: Graph) -> dict[str, str]:
    """Node -> its name: the module path, followed by the operator where a module has several.

    A convolution module is `g_a.0`; an addition in the forward of `block1` is `block1.add`; the second one
    `block1.add#2`. A module that is called again is numbered the same way: `conv#2`.
    """
    plain: dict[str, str] = {}
    for node in graph:
        op = short_name(node.op)
        if node.op == "input":
            plain[node.name] = node.name
        elif node.leaf and node.layer:
            plain[node.name] = node.layer
        else:
            plain[node.name] = f"{node.layer}.{op}" if node.layer else op
    ops: dict[str, set[str]] = {}
    for node in graph:
        if node.leaf:
            ops.setdefault(node.layer, set()).add(node.op)
    shared = {layer for layer, here in ops.items() if len(here) > 1}
    for node in graph:  # a leaf module with several operators, such as a convolution that pads by reflection
        if node.layer in shared and node.leaf and not _is_main(node):
            plain[node.name] = f"{node.layer}.{short_name(node.op)}"
    seen: Counter[str] = Counter()
    names = {}
    for node in sorted(graph, key=_unlikely_row):  # a stable sort: rows get the plain names, the rest the numbers
        name = plain[node.name]
        seen[name] += 1
        names[node.name] = name if seen[name] == 1 else f"{name}#{seen[name]}"
    return names


def _unlikely_row(node: Node) -> bool:
    rule = find(node.op)
    return len(set(node.operands)) < 2 and not (rule is not None and rule.shown)


def _is_main(node: Node) -> bool:
    """Whether a layer is called after this operator, if it has several."""
    kind = kind_of(node)
    return kind in WINDOWED or kind is Kind.NORM
