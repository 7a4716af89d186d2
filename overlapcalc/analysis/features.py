"""The last tensors before the obstacles of a net."""

from __future__ import annotations

from ..ops.graph import Node
from ..propagate.values import Propagation, joined
from .layers import visible


def frontier(net: Propagation, axes: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The last tensors before the first obstacle on each path: (name, node), in order of execution.

    They are free of obstacles on all of `axes`, and an operator that reads them is not (or they are outputs of the
    net). Of several on one path only the last counts: a skip that branches off earlier belongs to what comes before.
    They are named by their layers; an operator without a layer of its own that changes nothing in space takes the name
    of the one before it. Inputs of the net are never among them.
    """
    obstructed = {n.name for n in net.graph if _obstructed(net, n, axes)}
    clear = [n for n in net.graph if n.name not in obstructed and n.op != "input" and _reads(net, n, axes)]
    outputs = {node for _, node in net.graph.outputs}
    ends = [n for n in clear if n.name in outputs or any(m in obstructed for m in net.graph.readers(n.name))]
    earlier = {name for n in ends for name in net.graph.before(n.name)} - outputs
    named = {_known(net, n) for n in ends if n.name not in earlier}
    return tuple((net.names[name], name) for name in net.graph.order if name in named)


def _obstructed(net: Propagation, node: Node, axes: tuple[str, ...]) -> bool:
    return any(r.via for (_, axis), r in zip(net.slots, joined(net, node.name), strict=True) if axis in axes)


def _reads(net: Propagation, node: Node, axes: tuple[str, ...]) -> bool:
    return any(r for (_, axis), r in zip(net.slots, joined(net, node.name), strict=True) if axis in axes)


def _known(net: Propagation, node: Node) -> str:
    """The nearest tensor before this one, with the same reads, that is a row of the table or a layer's result."""
    while not node.leaf and not visible(net, node) and len(set(node.operands)) == 1:
        before = net.graph[node.operands[0]]
        if before.op == "input" or joined(net, before.name) != joined(net, node.name):
            break
        node = before
    while node.name not in net.traced.nodes:  # a step of a view
        node = net.graph[node.operands[0]]
    return node.name
