"""A net in stages along one axis, at one size.

Within a stage every operator can run band by band. An operator that needs the whole axis is a barrier: its result is
there when a stage has ended, and is an input of the stages behind. There are two kinds. A *reduction* takes its
operands band by band (ops/parts.py), and leaves something without the axis: a mean, the statistics of a norm, a product
that is contracted over the axis. Anything else runs *whole*, once, on operands that are stored whole; or *to and fro*
over them by bands (ops/scans.py). What is read *far* along the axis, mirrored say, is stored as well, and then read
by bands wherever these are wanted, where a stream would hold it nearly whole. Where an operator
needs only some of its operands whole, such as the keys and values of attention, it is no barrier: it follows the bands
of the others.

The other axes are not cut, so that nothing stands in the way along them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..algebra.cells import Field
from ..algebra.rates import Rate
from ..algebra.reshape import Factoring
from ..errors import ObstacleError, foreseen
from ..ops.graph import Data, Graph, Node
from ..ops.law import Cause
from ..ops.parts import STATISTICS, Cut, reduction_of
from ..ops.scans import CARRIED, scan_of, sweep_of
from .far import held_far
from .staged import Barrier, Staged
from .staged_forward import StagedForward
from .staged_layouts import renamed, settled, without
from .values import Propagation, TensorReads


def staged(net: Propagation, axis: str, unparted: frozenset[str] = frozenset()) -> Staged:
    """The same net at the same size, in stages along an axis. unparted: calls, or steps of calls, that run whole though
    they could be followed. Raises ObstacleError for what draws at random."""
    apart: frozenset[str] = frozenset()
    while True:
        found = _staged(net, axis, unparted, apart)
        stages = (found.stage(number) for number in sorted(set(found.stages.values())))
        more = {name for stage in stages for name in held_far(stage, axis)}
        if more <= apart:
            return found
        apart |= more


def _staged(net: Propagation, axis: str, unparted: frozenset[str], apart: frozenset[str]) -> Staged:
    """apart: calls, or steps of calls, that read their operands far along the axis, all of them stored by then."""
    views = {name: value.view for name, value in net.values.items() if value.view is not None}
    run = _Stager(net.traced, net.names, {}, True, views, True)
    run.axis, run.unparted, run.apart = axis, unparted, apart
    for node in net.traced:
        with foreseen(run.names.get(node.name) or node.layer or node.name, node.op, node.source):
            run.visit(node)
    outputs = list(net.traced.outputs)
    read = {o for node in run.nodes for o in node.operands} | {
        o for b in run.barriers.values() for o in b.node.operands
    }
    whole = {alias: of for alias, of in run.whole.items() if alias in read}
    nodes = [node for node in run.nodes if node.name not in run.whole or node.name in whole]
    graph = Graph.of(nodes, [(name, name) for name in (n.name for n in nodes)])
    everything = replace(graph, outputs=tuple(outputs), inputs=tuple(net.traced.inputs))
    found = Propagation(net.traced, everything, run.slots, run.values, run.rates, (), run.names)
    stored = {alias: of for alias, of in run.stored.items() if alias in graph.nodes}
    return Staged(axis, found, run.barriers, whole, {name: run.stages[name] for name in graph.order}, stored)


class _Stager(StagedForward):
    """One pass forward, with a new beginning behind every barrier."""

    unparted: frozenset[str]
    apart: frozenset[str]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.barriers: dict[str, Barrier] = {}
        self.whole: dict[str, str] = {}
        self.stored: dict[str, str] = {}
        self.stages: dict[str, int] = {}
        self._inside = False

    # ---- what is found out about one call -----------------------------------------------------------------

    def visit(self, node: Node) -> None:
        if self._inside or node.op == "input":
            super().visit(node)
            return
        made = self._tried(node)
        if not self.apart.isdisjoint({node.name, *(n.name for n in made)}):
            self._undo(made)
            node = self._from_store(node)
            made = self._tried(node)
        unparted = not self.unparted.isdisjoint({node.name, *(n.name for n in made)})
        if not self.blocked and not self.astray and not self._collapses(node) and not unparted:
            return
        self._undo(made)
        if unparted:
            self._end(node, reduction=False)
            return
        if not self.blocked and not self.astray:  # local, but each sample reads all
            if not self._reduced(node):
                self._tried(node)
            return
        drawn = next((o for o in self.astray.values() if o.cause == Cause.RANDOM.value), None)
        if drawn is not None:
            raise ObstacleError(f"no two runs of this net give the same: {drawn}")
        blocked, straying = {k for name, k in self.blocked if name == node.name}, bool(self.astray)
        only_here = all(name == node.name for name, _ in self.blocked)
        if not straying and (self._reduced(node) or self._carried(node) or self._swept(node)):
            return
        if not straying and only_here and self._following(node, blocked):
            return
        self._end(node, reduction=False)

    def _tried(self, node: Node) -> list[Node]:
        """The nodes that a call becomes, kept."""
        before = len(self.nodes)
        self.blocked, self.astray, self._inside = [], {}, True
        try:
            super().visit(node)
        finally:
            self._inside = False
        return self.nodes[before:]

    def _undo(self, made: list[Node]) -> None:
        for node in reversed(made):  # they are the last ones, or nearly
            del self.nodes[next(i for i in reversed(range(len(self.nodes))) if self.nodes[i] is node)]
            for known in (self.values, self.shapes, self.stages):
                known.pop(node.name, None)
            self.truths.discard(node.name)

    def _reduced(self, node: Node) -> bool:
        """Whether a call runs in parts; if so, it is kept that way."""
        found = reduction_of(node.op)
        cut = self._cut(node)
        if found is None or not found.fits(self._call(node), cut) or (found.ordered and not self._slowest(node, cut)):
            return False
        if found.apply is None:
            self._end(node, reduction=True)
            return True
        taken = f"{node.name}/{STATISTICS}"
        self._keep_result(taken, Factoring((), ()), Barrier(node, cut, True, self._ended(node)))
        self.names[taken] = self.names.get(node.name, node.layer or node.name)
        made = self._tried(replace(node, args={**node.args, STATISTICS: Data(taken)}))
        if not self.blocked and not self.astray and self.axis in self.values[node.name].labels:
            return True
        self._undo(made)
        self._undo([self.nodes[-1]])
        del self.barriers[taken]
        return False

    def _collapses(self, node: Node) -> bool:
        """Whether the axis is left with one sample: a pooling as tall as the image holds all of it, where parts do
        not."""
        sizes = [layout.sizes[layout.labels.index(self.axis)]
                 for layout in (self.values[name].layout for name in (node.name, *node.operands))
                 if self.axis in layout.labels]  # fmt: skip
        return len(sizes) > 1 and sizes[0] == 1 and max(sizes) > 1

    def _carried(self, node: Node) -> bool:
        """Whether a call is a scan along the axis; if so, it is kept as one that a stream carries."""
        found, cut = scan_of(node.op), self._cut(node)
        if found is None or not found.fits(self._call(node), cut):
            return False
        if not self._slowest(node, cut):
            return False
        made = self._tried(replace(node, args={**node.args, CARRIED: True}))
        if not self.blocked and not self.astray and self.axis in self.values[node.name].labels:
            return True
        self._undo(made)
        return False

    def _swept(self, node: Node) -> bool:
        """Whether a call goes to and fro along the axis; if so, it is kept as a barrier whose result has bands."""
        found, cut = sweep_of(node.op), self._cut(node)
        if found is None or not found.fits(self._call(node), cut) or not self._slowest(node, cut):
            return False
        layout, d = settled(self._layout(node)), cut[0]
        if d is None or layout.labels[layout.places(d)[0]] != self.axis:
            return False
        stage = max(map(self._whole_at, node.operands))
        self._keep_result(node.name, layout, Barrier(node, cut, False, stage, swept=True))
        return True

    def _slowest(self, node: Node, cut: Cut) -> bool:
        """Whether the axis runs slowest along the dimension that holds it: then a band is one stretch of that."""
        layouts = [self.values[operand].layout for operand in node.operands]
        return all(d is None or x.labels[x.places(d)[0]] == self.axis for x, d in zip(layouts, cut, strict=True))

    def _following(self, node: Node, blocked: set[int]) -> bool:
        """Whether a call follows the bands of some operands if the others are given whole; if so, it is kept so."""
        names = {k: o for k, o in enumerate(node.operands) if k in blocked}
        given = {k: self._given_whole(o) for k, o in names.items()}
        made = self._tried(replace(node, args=renamed(node.args, given)))
        if not self.blocked and not self.astray and self.axis in self.values[node.name].labels:
            return True
        self._undo(made)
        return False

    def _from_store(self, node: Node) -> Node:
        """The call with its operands along the axis given by bands, wherever they are wanted."""
        names = {}
        for k, operand in enumerate(node.operands):
            known = operand in self.barriers or operand in self.graph.inputs or operand in self.stored
            if self._dim(operand) is None or known:
                continue
            alias = names[k] = f"{operand}/stored"
            if alias not in self.values:
                self.stages[alias], self.stored[alias] = self._whole_at(operand), operand
                self.names[alias] = self.names.get(operand, operand)
                self._keep_input(alias, self.values[operand].layout)
        return replace(node, args=renamed(node.args, names))

    def _given_whole(self, operand: str) -> str:
        alias = f"{operand}/whole"
        if alias not in self.values:
            layout = self.values[operand].layout
            self.stages[alias] = self._whole_at(operand)
            self.whole[alias] = operand
            self.names[alias] = self.names.get(operand, operand)
            self._keep_input(alias, without(layout, self.axis))
        return alias

    def _end(self, node: Node, *, reduction: bool) -> None:
        """The call is a barrier: what it gives is an input, laid out as its operands were."""
        layout, cut = self._layout(node), self._cut(node)
        if reduction:
            layout, stage = without(layout, self.axis), self._ended(node)
        else:
            given = {k: self._given_whole(o) for k, o in enumerate(node.operands) if cut[k] is not None}
            node = replace(node, args=renamed(node.args, given))
            layout, stage = settled(layout), max(map(self._whole_at, node.operands))
        self._keep_result(node.name, layout, Barrier(node, cut, reduction, stage), truth=node.truth)

    def _layout(self, node: Node) -> Factoring:
        """That of a call's result, whatever it reads."""
        self.loose = True
        try:
            made = self._tried(node)
        finally:
            self.loose = False
        layout = self.values[node.name].layout
        self._undo(made)
        return layout

    def input_of(self, node: Node) -> TensorReads:
        """An input; what is read of it is not followed, because at one size there may be no map for that."""
        value = super().input_of(node)
        return replace(value, cells=Field.one(value.layout.cells, self.composer.nothing))

    # ---- keeping ------------------------------------------------------------------------------------------

    def keep(self, node: Node, value: TensorReads) -> None:
        super().keep(node, value)
        if node.name not in self.stages:
            self.stages[node.name] = max((self.stages[o] for o in node.operands), default=0)

    def _keep_result(self, name: str, layout: Factoring, barrier: Barrier, *, truth: bool = False) -> None:
        self.barriers[name] = barrier
        self.stages[name] = barrier.stage
        self._keep_input(name, layout, truth=truth)

    def _keep_input(self, name: str, layout: Factoring, *, truth: bool = False) -> None:
        rates: dict[str, Rate] = {p.label: self.rates.component() for p in layout.parts if p.is_axis}
        sizes = [1] * len(layout.widths)
        for d in range(len(sizes)):
            for i in layout.places(d):
                sizes[d] *= layout.sizes[i]
        node = Node(name, "input", {}, tuple(sizes), layer=name, layout="X" * len(sizes), truth=truth)
        self.keep(node, TensorReads(layout, rates, Field.one(layout.cells, self.composer.nothing)))

    def _ended(self, node: Node) -> int:
        """The first stage after that in which the last operand is computed."""
        return max(self.stages[o] for o in node.operands) + 1

    def _whole_at(self, operand: str) -> int:
        known = operand in self.barriers or operand in self.whole or operand in self.graph.inputs
        return self.stages[operand] + (not known)

    def _cut(self, node: Node) -> Cut:
        return tuple(map(self._dim, node.operands))

    def _dim(self, operand: str) -> int | None:
        layout = self.values[operand].layout
        return next((d for d in range(len(layout.widths)) if self.axis in layout.axes_of(d)), None)
