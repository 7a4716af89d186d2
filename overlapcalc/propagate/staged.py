"""The value of a net in stages: its nodes, its barriers, and the stage of each tensor (see stager.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

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
        nodes = self._nodes.get(number, [])
        here = {number}
        leaving = [node.name for node in nodes if self._readers.get(node.name, here) != here]
        return sub_net(self.net, nodes, leaving)

    @cached_property
    def _nodes(self) -> Mapping[int, list[Node]]:
        """The nodes of each stage, in order."""
        found: dict[int, list[Node]] = {}
        for node in self.net.graph:
            if node.op != "input":
                found.setdefault(self.stages[node.name], []).append(node)
        return found

    @cached_property
    def _readers(self) -> Mapping[str, set[int]]:
        """The stages that read each tensor; ELSE for what is no stage."""
        found: dict[str, set[int]] = {}
        for stage, nodes in self._nodes.items():
            for node in nodes:
                for operand in node.operands:
                    found.setdefault(operand, set()).add(stage)
        of_barriers = (operand for barrier in self.barriers.values() for operand in barrier.node.operands)
        outputs = (node for _, node in self.net.graph.outputs)
        for name in (*of_barriers, *self.whole.values(), *self.stored.values(), *outputs):
            found.setdefault(name, set()).add(ELSE)
        return found


ELSE = -1
"""A barrier, or what takes an output."""


def sub_net(net: Propagation, nodes: Sequence[Node], leaving: Sequence[str]) -> Propagation:
    """Some nodes of a net as a net of its own, whose outputs have the names of their nodes; what it reads besides is
    an input."""
    here = {node.name for node in nodes}
    needed = {o for node in nodes for o in node.operands} | set(leaving)
    given = sorted(needed - here, key=net.graph.places.__getitem__)
    inputs = [
        replace(node, op="input", args={}, layout=node.layout or "X" * len(node.shape))
        for node in map(net.graph.__getitem__, given)
    ]
    graph = Graph.of([*inputs, *nodes], [(name, name) for name in leaving])
    values = {name: net.values[name] if name in here else replace(net.values[name], paths=()) for name in graph.order}
    return Propagation(graph, graph, (), values, net.rates, (), net.names)
