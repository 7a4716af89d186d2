"""The value of a net in stages: its nodes, its barriers, and the stage of each tensor (see stager.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..ops.graph import Node
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
    tensors. stages: node -> the stage in which it is computed; of a barrier's result, and of what is given whole, the
    first stage that may read it.
    """

    axis: str
    net: Propagation
    barriers: Mapping[str, Barrier]
    whole: Mapping[str, str]
    stages: Mapping[str, int]

    @property
    def swept(self) -> frozenset[str]:
        """The barriers that go to and fro over their operand by bands."""
        return frozenset(name for name, barrier in self.barriers.items() if barrier.swept)

    @property
    def passes(self) -> int:
        """The number of passes over the image: what a reduction gives is there when the pass before has ended."""
        reductions = {name for name, barrier in self.barriers.items() if barrier.reduction}
        return max(stage - (name in reductions) for name, stage in self.stages.items()) + 1
