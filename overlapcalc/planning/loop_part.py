"""The part of a net that a loop goes through: from the inputs that are made to the outputs that stages take.

What depends on nothing that is made is run whole, before the first step, and is an input of the part. So it neither has
to be local, nor has a say in how large a cell is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..algebra.reshape import LOST
from ..ops.graph import Graph, Node
from ..propagate.forward import propagate
from ..propagate.values import Propagation

NO_AXIS = "C"
"""The letter of a dimension that is not an axis."""


def loop_part(net: Propagation, fed: Iterable[str], outputs: Iterable[tuple[str, str]]) -> Propagation:
    """The part as a net of its own, at its size. fed: the inputs that are made. outputs: names and nodes.

    Constants may differ at every position: a loop has one size, and its samples know their places. The whole net where
    what enters the part is laid out in a way that no input has.
    """
    wanted, makes = list(outputs), set(fed)
    made = set(makes)
    for name in net.graph.order:
        if any(path.operand in made for path in net.values[name].paths):
            made.add(name)
    needed = {node for _, node in wanted}
    for name in reversed(net.traced.order):
        if name in needed and name in made:
            needed |= set(net.traced[name].operands)
    nodes: list[Node] = []
    for name in net.traced.order:
        if name not in needed | makes:
            continue
        node = net.traced[name]
        if name in made or node.op == "input":
            nodes.append(node)
            continue
        letters = _letters(net, name)
        if letters is None:
            return net
        nodes.append(replace(node, op="input", args={}, layout=letters))
    views = {name: value.view for name, value in net.values.items() if value.view is not None}
    return propagate(Graph.of(nodes, wanted), names=net.names, views=views, placed=True)


def _letters(net: Propagation, node: str) -> str | None:
    """The layout of a tensor as an input; None where a dimension holds an axis and more."""
    layout, found = net.values[node].layout, ""
    for d in range(len(layout.widths)):
        labels = [layout.labels[i] for i in layout.places(d)]
        axes = layout.axes_of(d)
        if LOST in labels or (axes and len(labels) > 1):
            return None
        found += axes[0] if axes else NO_AXIS
    return found
