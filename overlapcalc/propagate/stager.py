"""A net in stages along one axis, at one size.

Within a stage every operator can run band by band. An operator that needs the whole axis is a barrier: its result is
there when a stage has ended, and is an input of the stages behind. There are two kinds. A *reduction* takes its
operands band by band (ops/parts.py), and leaves something without the axis: a mean, the statistics of a norm, a product
that is contracted over the axis. Anything else runs *whole*, once, on operands that are stored whole. Where an operator
needs only some of its operands whole, such as the keys and values of attention, it is no barrier: it follows the bands
of the others.

The other axes are not cut, so that nothing stands in the way along them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..algebra.cells import Field
from ..algebra.rates import Rate
from ..algebra.reshape import CELL, Factoring
from ..errors import ObstacleError, foreseen
from ..ops.graph import Data, Graph, Node, constants_in
from ..ops.law import Cause, DimRead, Law, Link, Obstruction
from ..ops.parts import STATISTICS, Cut, reduction_of
from ..ops.scans import CARRIED, scan_of
from .forward import Forward
from .staged import Barrier, Staged
from .staged_laws import beside_statistics, in_order, laid_like
from .staged_layouts import renamed, settled, without
from .values import Obstacle, Path, Propagation, TensorReads
from .views import ELSEWHERE


def staged(net: Propagation, axis: str, unparted: frozenset[str] = frozenset()) -> Staged:
    """The same net at the same size, in stages along an axis. unparted: calls, or steps of calls, that run whole though
    they could be followed. Raises ObstacleError for what draws at random."""
    views = {name: value.view for name, value in net.values.items() if value.view is not None}
    run = _Stager(net.traced, net.names, {}, True, views, True)
    run.axis, run.unparted = axis, unparted
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
    return Staged(axis, found, run.barriers, whole, {name: run.stages[name] for name in graph.order})


class _Stager(Forward):
    """One pass forward, with a new beginning behind every barrier."""

    axis: str
    unparted: frozenset[str]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.barriers: dict[str, Barrier] = {}
        self.whole: dict[str, str] = {}
        self.stages: dict[str, int] = {}
        self._blocked: list[tuple[str, int]] = []  # nodes and the index of an operand that they read all along the axis
        self._astray: dict[str, Obstacle] = {}  # nodes that cannot follow the axis for another reason
        self._inside = self._loose = False

    # ---- what is found out about one call -----------------------------------------------------------------

    def visit(self, node: Node) -> None:
        if self._inside or node.op == "input":
            super().visit(node)
            return
        made = self._tried(node)
        unparted = not self.unparted.isdisjoint({node.name, *(n.name for n in made)})
        if not self._blocked and not self._astray and not self._collapses(node) and not unparted:
            return
        self._undo(made)
        if unparted:
            self._end(node, reduction=False)
            return
        if not self._blocked and not self._astray:  # local, but each sample reads all
            if not self._reduced(node):
                self._tried(node)
            return
        drawn = next((o for o in self._astray.values() if o.cause == Cause.RANDOM.value), None)
        if drawn is not None:
            raise ObstacleError(f"no two runs of this net give the same: {drawn}")
        blocked, straying = {k for name, k in self._blocked if name == node.name}, bool(self._astray)
        only_here = all(name == node.name for name, _ in self._blocked)
        if not straying and (self._reduced(node) or self._carried(node)):
            return
        if not straying and only_here and self._following(node, blocked):
            return
        self._end(node, reduction=False)

    def _tried(self, node: Node) -> list[Node]:
        """The nodes that a call becomes, kept."""
        before = len(self.nodes)
        self._blocked, self._astray, self._inside = [], {}, True
        try:
            super().visit(node)
        finally:
            self._inside = False
        return self.nodes[before:]

    def _undo(self, made: list[Node]) -> None:
        for node in made:
            self.nodes.remove(node)
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
        if not self._blocked and not self._astray and self.axis in self.values[node.name].labels:
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
        if not self._blocked and not self._astray and self.axis in self.values[node.name].labels:
            return True
        self._undo(made)
        return False

    def _slowest(self, node: Node, cut: Cut) -> bool:
        """Whether the axis runs slowest along the dimension that holds it: then a band is one stretch of that."""
        layouts = [self.values[operand].layout for operand in node.operands]
        return all(d is None or x.labels[x.places(d)[0]] == self.axis for x, d in zip(layouts, cut, strict=True))

    def _following(self, node: Node, blocked: set[int]) -> bool:
        """Whether a call follows the bands of some operands if the others are given whole; if so, it is kept so."""
        names = {k: o for k, o in enumerate(node.operands) if k in blocked}
        given = {k: self._given_whole(o) for k, o in names.items()}
        made = self._tried(replace(node, args=renamed(node.args, given)))
        if not self._blocked and not self._astray and self.axis in self.values[node.name].labels:
            return True
        self._undo(made)
        return False

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
        self._loose = True
        try:
            made = self._tried(node)
        finally:
            self._loose = False
        layout = self.values[node.name].layout
        self._undo(made)
        cut = self._cut(node)
        if reduction:
            layout, stage = without(layout, self.axis), self._ended(node)
        else:
            given = {k: self._given_whole(o) for k, o in enumerate(node.operands) if cut[k] is not None}
            node = replace(node, args=renamed(node.args, given))
            layout, stage = settled(layout), max(map(self._whole_at, node.operands))
        self._keep_result(node.name, layout, Barrier(node, cut, reduction, stage), truth=node.truth)

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

    # ---- laws ---------------------------------------------------------------------------------------------

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

    def labels_for(self, node: Node, links: Sequence[Link], layout: Factoring) -> tuple[str, ...]:
        """As the links say. A dimension along which one sample is spread may be called the axis that an input has
        there: it reads nothing along it."""
        found = list(super().labels_for(node, links, layout))
        like = next((self.graph[name].axes for name in self.graph.inputs if any(self.graph[name].axes)), ())
        if not layout.simple or len(like) != len(found) or self.axis in found or self.axis not in like:
            return tuple(found)
        d = like.index(self.axis)
        read = [(link, dim.source) for link in links for dim in link.dims if dim.target == d and dim.source is not None]
        one = all(self.values[node.operands[link.operand]].layout.sizes[s] == 1 for link, s in read)
        if found[d] == CELL and layout.sizes[d] > 1 and one:
            found[d] = self.axis
        return tuple(found)

    def follows(self, dim: DimRead, label: str) -> bool:
        return self._loose or label != self.axis or super().follows(dim, label)

    def path_of(self, node: Node, link: Link, *rest: Any) -> Path:
        layout, operand = rest[0], self.values[node.operands[link.operand]].layout
        path = super().path_of(node, link, *rest)
        if any(layout.labels[d.target] == self.axis != operand.labels[d.source] and operand.sizes[d.source] > 1
               for d in link.dims if d.source is not None and d.target is not None):  # fmt: skip
            self._astray[node.name] = self._obstacle(node, self.axis, ELSEWHERE)
        if self.axis in path.obstructed:
            self._blocked.append((node.name, link.operand))
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
            self._astray[node.name] = here[self.axis]
        return {}
