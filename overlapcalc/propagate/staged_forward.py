"""How calls of a net in stages read along the axis of the stages (see stager.py): what follows bands, and what not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..ops.graph import Node, constants_in
from ..ops.law import Cause, DimRead, Law, Link, Obstruction
from ..ops.parts import STATISTICS
from ..ops.scans import CARRIED
from .forward import Forward
from .staged_laws import beside_statistics, in_order, laid_like
from .values import Obstacle, Path
from .views import ELSEWHERE


class StagedForward(Forward):
    """Notes which calls do not follow bands of the axis.

    blocked: nodes, and the index of an operand that they read all along the axis. astray: nodes that cannot follow it
    for another reason. loose: follow the axis whatever is read, to see how a result is laid out.
    """

    axis: str

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.blocked: list[tuple[str, int]] = []
        self.astray: dict[str, Obstacle] = {}
        self.loose = False

    def law_of(self, node: Node) -> Law | None:
        """Of an operator that is given its statistics: what it reads beside them. Of a scan: sample by sample."""
        given = {STATISTICS, CARRIED} & node.args.keys()
        if not given:
            law = super().law_of(node)
            return law if law is None else laid_like(law, self._call(node))
        law = super().law_of(replace(node, args={k: v for k, v in node.args.items() if k not in given}))
        assert law is not None
        layouts = [self.values[operand].layout for operand in node.operands]
        if CARRIED in given:
            return in_order(law, layouts, self.axis)
        return beside_statistics(law, layouts, self.axis, len(node.shape))

    def follows(self, dim: DimRead, label: str) -> bool:
        return self.loose or label != self.axis or super().follows(dim, label)

    def path_of(self, node: Node, link: Link, *rest: Any) -> Path:
        layout, operand = rest[0], self.values[node.operands[link.operand]].layout
        path = super().path_of(node, link, *rest)
        if any(layout.labels[d.target] == self.axis != operand.labels[d.source] and operand.sizes[d.source] > 1
               for d in link.dims if d.source is not None and d.target is not None):  # fmt: skip
            self.astray[node.name] = self._obstacle(node, self.axis, ELSEWHERE)
        if self.axis in path.obstructed:
            self.blocked.append((node.name, link.operand))
        if CARRIED in node.args and self.axis in path.axes:
            path = replace(path, axes={**path.axes, self.axis: replace(path.axes[self.axis], carried=True)})
        return path

    def own_obstacles(self, node: Node, law: Law, *rest: Any) -> dict[str, Obstacle]:
        here = super().own_obstacles(node, law, *rest)
        drawn = next((why for _, why in law.obstructions if why.cause is Cause.RANDOM), None)
        if drawn is not None or any(value.random for value in constants_in(node.args.values())):
            why = drawn or Obstruction(Cause.RANDOM, "uses values that are drawn at random or change with every call")
            here = {self.axis: self._obstacle(node, self.axis, why)}
        if self.axis in here:
            self.astray[node.name] = here[self.axis]
        return {}
