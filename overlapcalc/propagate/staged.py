"""The value of a net in stages: its nodes, its barriers, and the stage of each tensor (see stager.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..ops.graph import Graph, Node
from ..ops.parts import Cut
from .values import Propagation


@dataclass(frozen=True)
class Barrier:
    """An operator that ends a stage. node: its call, whose operands are nodes of the net. cut: for each operand, the
    dimension that holds the axis. reduction: it takes bands; otherwise its operands are stored. stage: the first stage
    that may read its result. swept: it goes to and fro over its operand by bands, and its result is stored too."""

    node: Node
    cut: Cut
    reduction: bool
    stage: int
    swept: bool = False


@dataclass(frozen=True)
class Staged:
    """A net in stages along an axis.

    net: all nodes; what a barrier gives, and what is given whole, stands among them as an input, and inputs of the net
    come first. barriers: by the names of their results. whole: names under which tensors are given whole -> the
    tensors. stored: the same of tensors that are given by bands, wherever these are wanted. stages: node -> the stage
    in which it is computed; of a barrier's result, and of what is given, the first stage that may read it.
    """

    axis: str
    net: Propagation
    barriers: Mapping[str, Barrier]
    whole: Mapping[str, str]
    stages: Mapping[str, int]
    stored: Mapping[str, str] = field(default_factory=dict)

    @property
    def swept(self) -> frozenset[str]:
        """The barriers that go to and fro over their operand by bands."""
        return frozenset(name for name, barrier in self.barriers.items() if barrier.swept)

    @property
    def passes(self) -> int:
        """The number of passes over the image: what a reduction gives is there when the pass before has ended."""
        reductions = {name for name, barrier in self.barriers.items() if barrier.reduction}
        return max(stage - (name in reductions) for name, stage in self.stages.items()) + 1

    def stage(self, number: int) -> Propagation:
        """What is computed in a stage, as a net of its own; its outputs are all that something else reads."""
        graph = self.net.graph
        nodes = [node for node in graph if node.op != "input" and self.stages[node.name] == number]
        here = {node.name for node in nodes}
        read = {operand for node in graph if node.name not in here for operand in node.operands}
        read.update(operand for barrier in self.barriers.values() for operand in barrier.node.operands)
        read.update(self.whole.values(), self.stored.values(), (node for _, node in graph.outputs))
        return sub_net(self.net, nodes, [node.name for node in nodes if node.name in read])


def sub_net(net: Propagation, nodes: Sequence[Node], leaving: Sequence[str]) -> Propagation:
    """Some nodes of a net as a net of its own, whose outputs have the names of their nodes; what it reads besides is
    an input."""
    here = {node.name for node in nodes}
    needed = {o for node in nodes for o in node.operands} | set(leaving)
    inputs = [
        replace(node, op="input", args={}, layout=node.layout or "X" * len(node.shape))
        for node in net.graph
        if node.name in needed - here
    ]
    graph = Graph.of([*inputs, *nodes], [(name, name) for name in leaving])
    values = {name: net.values[name] if name in here else replace(net.values[name], paths=()) for name in graph.order}
    return Propagation(graph, graph, (), values, net.rates, (), net.names)
