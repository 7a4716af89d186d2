"""The rows of the per-layer table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ..algebra.index_map import IndexMap
from ..errors import AmbiguousPair, InputError
from ..ops import find
from ..ops.graph import CUT, JOIN, Node
from ..propagate.grid import Grid
from ..propagate.values import Propagation, Reads, joined
from .attributes import detail, plain
from .measures import Sides, context_of, reach_of_one, receptive_field


@dataclass(frozen=True)
class RowAxis:
    """One layer along one axis, against one input.

    size: samples of this layer's output. scale: input samples per sample here. before, after: the context so far of a
    block on the joint grid. added: what this layer added to the largest of its operands. reach: that of the worst
    single sample. obstacles: those between the input and here; then the figures are those of what remains beside them.

    >>> row = oc.analyze(nn.Conv1d(3, 8, 5, stride=2, padding=2), (1, 3, 32)).layers[0]["L"]
    >>> row.size, str(row.scale), row.before, row.after
    (16, '2', 2, 1)
    """

    size: int | None
    scale: Fraction | None = None
    receptive_field: tuple[int, int] | None = None
    before: int | None = None
    after: int | None = None
    added: Sides | None = None
    reach: Sides | None = None
    obstacles: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "scale": None if self.scale is None else str(self.scale),
            "receptive_field": None if self.receptive_field is None else list(self.receptive_field),
            "before": self.before,
            "after": self.after,
            "added": None if self.added is None else {"before": self.added.before, "after": self.added.after},
            "reach": None if self.reach is None else {"before": self.reach.before, "after": self.reach.after},
            "obstacles": list(self.obstacles),
        }


@dataclass(frozen=True)
class LayerRow:
    """One row of the table: an operator of the graph that does something in space or joins branches.

    name: module path, followed by the operator for functional calls. inputs: the rows or inputs that feed it.
    detail: kernel, stride, ... by name. against: input -> axis -> RowAxis.

    >>> row = oc.analyze(nn.Conv1d(3, 8, 5, stride=2, padding=2), (1, 3, 32)).layers[0]
    >>> row.op, row.detail
    ('aten::conv1d', {'kernel': 5, 'stride': 2, 'padding': 2})
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    detail: Mapping[str, Any]
    source: str
    against: Mapping[str, Mapping[str, RowAxis]]

    def __getitem__(self, axis: str) -> RowAxis:
        """Against the only input that this layer reads. Raises AmbiguousPair, InputError."""
        known = {name: axes[axis] for name, axes in self.against.items() if axis in axes}
        if len(known) == 1:
            return next(iter(known.values()))
        if not known:
            raise InputError(f"layer {self.name} has no axis {axis!r}")
        raise AmbiguousPair(f"layer {self.name} reads inputs {', '.join(known)}; use row.against[INPUT][{axis!r}]")

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "op": self.op,
            "inputs": list(self.inputs),
            "detail": plain(self.detail),
            "source": self.source,
            "axes": {name: {a: row.to_dict() for a, row in axes.items()} for name, axes in self.against.items()},
        }


def layer_rows(net: Propagation, axes: tuple[str, ...]) -> tuple[LayerRow, ...]:
    """The rows of a net for some axes, in order of execution."""
    grids = {axis: Grid(net, axis) for axis in axes}
    shown = [node for node in net.graph if visible(net, node)]
    names = {node.name for node in shown}
    rows = []
    for node in shown:
        against: dict[str, dict[str, RowAxis]] = {}
        for (inp, axis), reads in zip(net.slots, joined(net, node.name), strict=True):
            if axis in grids and reads:
                against.setdefault(inp, {})[axis] = _row_axis(net, grids[axis], node, inp, axis, reads)
        rows.append(
            LayerRow(
                name=net.names[node.name],
                op=node.op,
                inputs=feeders(net, node, names),
                detail=_detail(net, node),
                source=node.source,
                against=against,
            )
        )
    return tuple(rows)


def _row_axis(net: Propagation, grid: Grid, node: Node, inp: str, axis: str, reads: Reads) -> RowAxis:
    size = net.size(node.name, axis)
    via = tuple(o.layer for o in net.obstacles if o in reads.via)
    if reads.reads is None or size is None or not grid.same(node.name, inp):
        return RowAxis(size=size, obstacles=via)
    step, here = grid.per_step(inp), grid.per_step(node.name)
    context = context_of(reads.reads, step, here)
    assert context is not None
    slot = net.slots.index((inp, axis))
    before, after = [], []
    for path in net.values[node.name].paths:
        operand = joined(net, path.operand)[slot].reads
        if operand is not None and grid.same(path.operand, inp):
            earlier = context_of(operand, step, grid.per_step(path.operand))
            if earlier is not None:
                before.append(earlier.before)
                after.append(earlier.after)
    added = Sides(context.before - max(before), context.after - max(after)) if before else None
    return RowAxis(
        size=size,
        scale=Fraction(step, here),
        receptive_field=receptive_field(reads.reads),
        before=context.before,
        after=context.after,
        added=added,
        reach=reach_of_one(reads.reads),
        obstacles=via,
    )


def _detail(net: Propagation, node: Node) -> dict[str, Any]:
    """The figures of a call; for a view, those of its steps: the lengths of the pieces that it cuts and joins."""
    found: dict[str, list[int]] = {}
    for step in _steps(net, node):
        for name, piece in detail(step).items():
            if step.op in (CUT, JOIN):
                found.setdefault(name, []).insert(0, piece)
    return {**detail(node), **{name: p[0] if len(set(p)) == 1 else tuple(p) for name, p in found.items()}}


def _steps(net: Propagation, node: Node) -> list[Node]:
    """The steps before an operator, last first."""
    found: list[Node] = []
    while node.operands and node.operands[0] not in net.traced.nodes:
        node = net.graph[node.operands[0]]
        found.append(node)
    return found


def visible(net: Propagation, node: Node) -> bool:
    """Whether a node is a row: it does something in space, joins branches, or is an obstacle."""
    if node.op == "input" or node.name not in net.traced.nodes:
        return False
    rule = find(node.op)
    value = net.values[node.name]
    if not value.paths or not any(net.values[p.operand].rates for p in value.paths):
        return False
    if rule is not None and rule.shown:
        return True
    if any(o.layer == net.names.get(node.name) for o in net.obstacles):
        return True
    if any(along.reads != IndexMap.identity() for p in value.paths for along in p.axes.values()):
        return True
    if any(step.op in (CUT, JOIN) for step in _steps(net, node)):
        return True
    return len({p.operand for p in value.paths}) > 1


def feeders(net: Propagation, node: Node, rows: set[str]) -> tuple[str, ...]:
    """The names of the rows and inputs that lead to this node through operators that are not rows."""
    found: list[str] = []
    todo = list(reversed(node.operands))
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in rows or net.graph[name].op == "input":
            found.append(net.names[name])
        else:
            todo.extend(reversed(net.graph[name].operands))
    return tuple(dict.fromkeys(found))
