"""Graph -> Propagation: what every tensor of a net reads of every input, axis by axis.

Forward through the graph. A tensor's value is one Reach per (input, axis), kept per cell (channels); an operator's
rule is resolved into paths, one per operand link, each with an index map per axis and a pairing of the cells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ..algebra.cells import Field
from ..algebra.index_map import IndexMap
from ..algebra.rates import Rate, RateTies
from ..algebra.reshape import CELL, LOST, Factoring, Part, Reshape, Run, view
from ..errors import RuleError, UnknownOperatorError, foreseen
from ..ops import Call, find, steps_before
from ..ops.graph import STEP_OF, Data, Graph, Node, constants_in
from ..ops.law import HELP, Cause, DimRead, Law, Link, Obstruction
from ..ops.place import linked, settled
from ..ops.rules.pointwise import broadcast
from ..ops.view_steps import STEPS
from .through import Composer, cell_places, paired
from .values import NOTHING, InputAxis, InputReads, Obstacle, Path, Propagation, Reads, Step, TensorReads, join_reaches
from .views import ELSEWHERE, JOINT_OUTPUT, out_parts, spelled, spelled_law, stages


def propagate(
    graph: Graph,
    *,
    names: Mapping[str, str] | None = None,
    differing: Mapping[str, Mapping[str, str]] | None = None,
    sizes_verified: bool = True,
    coarser: Mapping[str, int] | None = None,
    views: Mapping[str, Reshape] | None = None,
) -> Propagation:
    """Send every input's samples forward through the graph.

    names: what to call each node in messages. differing: node -> axis -> why it is known to depend on the image's
    size (found by a second trace). sizes_verified: False where no second trace ran, so that factors taken from
    sizes are refused. coarser: axis -> how many times coarser than its operators ask the grid is, because the net
    means the same only at every so many steps (it pads to a multiple, say). views: node -> how its view was seen at
    another size, taken wherever it gives the shapes of this one. Raises UnknownOperatorError with all
    operators that have no rule.
    """
    run = _Run(graph, names or {}, differing or {}, sizes_verified, views or {})
    for node in graph:
        with foreseen(run.names.get(node.name) or node.layer or node.name, node.op, node.source):
            run.visit(node)
    if run.unknown:
        raise UnknownOperatorError(_unknown_message(run.unknown, run.names))
    run.coarsen(coarser or {})
    run.refuse_joint_outputs()
    return Propagation(
        graph, run.taken_apart(), run.slots, run.values, run.rates, tuple(dict.fromkeys(run.obstacles)), run.names
    )


def _unknown_message(nodes: list[Node], names: Mapping[str, str]) -> str:
    lines = [f"no rule for {len(nodes)} operator call{'s' if len(nodes) > 1 else ''} of this net:"]
    for node in nodes:
        at = f" at {node.source}" if node.source else ""
        lines.append(f"  {node.op} in {names.get(node.name) or node.layer or node.name}{at}")
    lines.append("register a rule for each with overlapcalc.rule(NAME); docs/add-an-operator.md shows how")
    return "\n".join(lines)


class _Run:
    """The state of one forward pass."""

    def __init__(
        self,
        graph: Graph,
        names: Mapping[str, str],
        differing: Mapping[str, Mapping[str, str]],
        sizes_verified: bool,
        views: Mapping[str, Reshape],
    ) -> None:
        self.views = views
        self.graph, self.names, self.differing, self.sizes_verified = graph, dict(names), differing, sizes_verified
        self.nodes: list[Node] = []
        self.truths: set[str] = set()
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.slots: tuple[InputAxis, ...] = tuple(
            (name, axis) for name in graph.inputs for axis in graph[name].axes if axis != CELL
        )
        self.composer = Composer(self.slots)
        self.values: dict[str, TensorReads] = {}
        self.rates = RateTies()
        self.obstacles: list[Obstacle] = []
        self.unknown: list[Node] = []
        self.drawn: set[str] = set()
        self.misplaced: dict[str, Obstruction] = {}  # per axis of the node at hand

    def visit(self, node: Node) -> None:
        if node.op == "input":
            self._keep(node, self._input(node))
            return
        node = self._after_steps(node)
        law = self._law(node)
        if law is None:
            self.unknown.append(node)
            self._keep(node, self._unknown_value(node))
        elif law.links and law.links[0].runs is not None:
            self._view(node, law.links[0].runs)
        else:
            self._keep(node, self._apply(node, law))

    def _after_steps(self, node: Node) -> Node:
        """The node behind the steps that come before its operator, if there are any."""
        before = steps_before(node.op)
        if before is None:
            return node
        at = node.operands[0]
        for i, step in enumerate(before(self._call(node))):
            name = f"{node.name}/before{i}"
            args = {"self": Data(at), STEP_OF: node.op, **step.args}
            self.names[name] = self.names.get(node.name, node.layer or node.name)
            self.visit(replace(node, name=name, op=step.op, args=args, shape=step.shape, pointwise=False))
            at = name
        return replace(node, args={k: Data(at) if isinstance(v, Data) else v for k, v in node.args.items()})

    def taken_apart(self) -> Graph:
        """The graph with the steps of its views, where they have any."""
        return (
            self.graph if len(self.nodes) == len(self.graph.order) else Graph.of(self.nodes, list(self.graph.outputs))
        )

    def _keep(self, node: Node, value: TensorReads) -> None:
        self.nodes.append(node)
        self.values[node.name] = value
        self.shapes[node.name] = node.shape
        if node.truth:
            self.truths.add(node.name)

    def _view(self, node: Node, runs: Sequence[Run]) -> None:
        layout = self.values[node.operands[0]].layout
        known = self.views[node.name].applied(layout, node.shape) if node.name in self.views else None
        found = known or view(layout, runs, node.shape)
        for stage in stages(node, layout, found):
            if stage.links is None:
                law = self._law(stage.node)
                assert law is not None
            else:
                law = Law(stage.links)
            self.names[stage.node.name] = self.names.get(node.name, node.layer or node.name)
            value = self._connect(stage.node, law, stage.layout, stage.layout.labels)
            self._keep(stage.node, replace(value, view=found) if stage.node.name == node.name else value)

    def _input(self, node: Node) -> TensorReads:
        labels = node.axes
        layout = Factoring.plain(node.shape, labels)
        rates = {}
        for axis in labels:
            if axis == CELL:
                continue
            rates[axis] = self.rates.component()
            self.rates.whole(rates[axis])
        one = Reads(IndexMap.identity(), IndexMap.identity())
        reaches = tuple(one if slot[0] == node.name else NOTHING for slot in self.slots)
        texts = self.differing.get(node.name, {})  # the net gives this input back at one size, and not at another
        here = {axis: self._obstacle(node, axis, _at_this_size(text)) for axis, text in texts.items()}
        return TensorReads(layout, rates, Field.one(layout.cells, self._behind(reaches, here)))

    def coarsen(self, times: Mapping[str, int]) -> None:
        steps = self.rates.steps()
        for inp, axis in self.slots:
            if times.get(axis, 1) > 1:
                rate = self.values[inp].rates[axis]
                component, samples = self.rates.root(rate)
                self.rates.whole(rate, int(samples * steps[component]) * times[axis])

    def refuse_joint_outputs(self) -> None:
        """An output whose dimension holds more than an axis is no image along that axis: blocks cannot be laid side
        by side. What reads it inside the net is not concerned."""
        for _, name in self.graph.outputs:
            value, node = self.values[name], self.graph[name]
            joint = [value.layout.places(d) for d, width in enumerate(value.layout.widths) if width > 1]
            axes = {value.layout.labels[i] for places in joint for i in places if value.layout.parts[i].is_axis}
            here = {axis: self._obstacle(node, axis, JOINT_OUTPUT) for axis in sorted(axes)}
            if here:
                cells = value.cells.map(lambda reaches, here=here: self._behind(reaches, here))  # type: ignore[misc]
                self.values[name] = replace(value, cells=cells)

    def _unknown_value(self, node: Node) -> TensorReads:
        """Stands in for an operator without a rule, so that the others can be looked at and listed too."""
        operand = self.values.get(node.operands[0]) if node.operands else None
        same = operand is not None and operand.layout.simple and len(operand.labels) == len(node.shape)
        layout = Factoring.plain(
            node.shape, operand.labels if operand is not None and same else (CELL,) * len(node.shape)
        )
        rates = operand.rates if operand is not None and same else {}
        return TensorReads(layout, rates, Field.one(layout.cells, self.composer.nothing))

    # ---- laws ---------------------------------------------------------------------------------------------

    def _law(self, node: Node) -> Law | None:
        """What the rule says, with all that it says nothing of refused."""
        call = self._call(node)
        law = self._said(node, call)
        if law is None or any(link.runs is not None for link in law.links):
            return law
        return settled(linked(law, call), node.args, len(node.shape))

    def _said(self, node: Node, call: Call) -> Law | None:
        known = find(node.op)
        if known is not None:
            return known.law(call)
        if node.pointwise:
            return broadcast(call)
        if all(not set(self.values[o].rates) for o in node.operands):
            # No operand has a spatial axis left (a classifier's head): whatever this does, it does behind the
            # obstacles already on the way, so reading everything says it all.
            links = []
            for k, shape in enumerate(call.shapes):
                dims = [DimRead(s, None) for s in range(len(shape))]
                links.append(Link(k, (*dims, *(DimRead(None, t) for t in range(len(node.shape))))))
            return Law(tuple(links))
        return None

    def _call(self, node: Node) -> Call:
        """The call as its rule sees it: steps of views see the parts of their operand."""
        parts = node.op in STEPS
        shapes = tuple(self.values[o].layout.sizes if parts else self.shapes[o] for o in node.operands)
        return Call(node, shapes, tuple(o in self.truths for o in node.operands))

    def _obstacle(self, node: Node, axis: str, block: Obstruction) -> Obstacle:
        obstacle = Obstacle(
            self.names.get(node.name, node.layer or node.name),
            node.called,
            axis,
            block.cause.value,
            block.message,
            node.source,
            HELP[block.cause],
        )
        self.obstacles.append(obstacle)
        return obstacle

    # ---- one call -----------------------------------------------------------------------------------------

    def _apply(self, node: Node, law: Law) -> TensorReads:
        """A call by its rule, whose dimensions are spelled out as the parts that they consist of."""
        for link in law.links:
            self._check(node, link)
        operands = [self.values[o].layout for o in node.operands]
        if all(layout.simple for layout in operands):
            return self._connect(node, law, Factoring.plain(node.shape, (CELL,) * len(node.shape)))
        sizes = out_parts(law.links, operands, node.shape)
        out = Factoring.grouped([[Part(n) for n in group] for group in sizes])
        links = [spelled(link, operands[link.operand], out)[0] for link in law.links]
        labels = self._labels(node, links, out)
        out = Factoring(tuple(map(Part, out.sizes, labels)), out.widths)
        astray: dict[str, Obstruction] = {}
        for link in law.links:
            astray.update(spelled(link, operands[link.operand], out)[1])
        self.misplaced.update(astray)
        return self._connect(node, replace(spelled_law(law, out), links=tuple(links)), out, labels)

    def _connect(self, node: Node, law: Law, layout: Factoring, labels: tuple[str, ...] | None = None) -> TensorReads:
        """What a node reads by a law in terms of parts. labels: what the parts are; when absent, what links bring."""
        links = [link for link in law.links if self._wanted(node, link)]
        labels = self._labels(node, links, layout) if labels is None else labels
        layout = Factoring(tuple(map(Part, layout.sizes, labels)), layout.widths)
        rates: dict[str, Rate] = {}
        paths = [self._path(node, link, layout, rates, law) for link in links]
        for label in labels:
            if label not in (CELL, LOST) and label not in rates:  # every way to it is blocked
                rates[label] = self.rates.component()
        for rate in rates.values():
            self.rates.whole(rate)
        for d, period in law.period:
            if labels[d] in rates:
                self.rates.whole(rates[labels[d]], period)
        cells = Field.one(layout.cells, self.composer.nothing)
        for path in paths:
            cells = cells.merge(self.composer.through(path, self.values[path.operand].cells), join_reaches)
        here = self._own_obstacles(node, law, labels, rates)
        if here:
            cells = cells.map(lambda reaches: self._behind(reaches, here))
        return TensorReads(layout, rates, cells, tuple(paths), law)

    def _wanted(self, node: Node, link: Link) -> bool:
        if not (link.only_if_even or link.only_if_uneven):
            return True
        value = self.values[node.operands[link.operand]]
        places = cell_places(value.labels)
        mixed = {dim.source for dim in link.dims if dim.target is None or dim.reads != IndexMap.identity()}
        even = not any(value.cells.varies(place) for d, place in places.items() if d in mixed)
        return even if link.only_if_even else not even

    def _check(self, node: Node, link: Link) -> None:
        """A rule must account for every dimension of its operand once, or an axis could vanish unnoticed."""
        shape = self.shapes[node.operands[link.operand]]
        sources = sorted(d.source for d in link.dims if d.source is not None)
        targets = sorted(d.target for d in link.dims if d.target is not None)
        if sources != list(range(len(shape))) or len(set(targets)) != len(targets):
            raise RuleError(
                f"{self.names.get(node.name, node.layer)}: the rule of {node.op} accounts for operand dimensions "
                f"{sources} and output dimensions {targets}; each of the {len(shape)} and "
                f"{len(node.shape)} must stand exactly once"
            )

    def _labels(self, node: Node, links: Sequence[Link], layout: Factoring) -> tuple[str, ...]:
        """What each output part is: an axis where any link keeps one, lost where one is torn up."""
        found: list[str] = []
        for t, size in enumerate(layout.sizes):
            best = CELL
            for link in links:
                operand = self.values[node.operands[link.operand]]
                for dim in link.dims:
                    if dim.target != t or dim.source is None:
                        continue
                    label = operand.labels[dim.source]
                    if label == CELL:
                        continue
                    kept = label != LOST and dim.reads is not None and dim.block is None
                    if kept and label not in found and best in (CELL, LOST):
                        best = label
                    elif best == CELL and size > 1:
                        best = LOST
            found.append(best)
        return tuple(found)

    def _path(self, node: Node, link: Link, layout: Factoring, rates: dict[str, Rate], law: Law) -> Path:
        operand_name = node.operands[link.operand]
        operand = self.values[operand_name]
        labels = layout.labels
        steps: dict[str, Step] = {}
        blocked: dict[str, Obstacle] = {}
        differing = self.differing.get(node.name, {})

        def block(axis: str, why: Obstruction) -> None:
            if axis not in blocked:
                blocked[axis] = self._obstacle(node, axis, why)

        for dim in link.dims:
            source = operand.labels[dim.source] if dim.source is not None else CELL
            target = labels[dim.target] if dim.target is not None else CELL
            if source not in (CELL, LOST):
                if dim.block is not None:
                    block(source, dim.block)
                elif dim.reads is None:
                    block(source, Obstruction(Cause.GLOBAL, "reads the whole axis"))
                elif target != source:
                    block(source, Obstruction(Cause.AXES_MIXED, "lays the axis across another one"))
                elif law.by_size and not self.sizes_verified:
                    block(source, law.by_size)
                elif source in differing:
                    block(source, _at_this_size(differing[source]))
                else:
                    steps[source] = Step(dim.reads, dim.border, dim.least)
            elif dim.source is not None and source == CELL and target not in (CELL, LOST):
                known = any(o.axis == target for r in operand.cells.union(join_reaches) for o in r.via)
                if operand.layout.sizes[dim.source] > 1 and not known:
                    self.misplaced[target] = ELSEWHERE
        for axis in list(steps):
            self._rate(node, link, axis, steps, rates, block)
        return Path(operand_name, steps, blocked, paired(link, operand.layout, layout), link.exact)

    def _rate(
        self,
        node: Node,
        link: Link,
        axis: str,
        steps: dict[str, Step],
        rates: dict[str, Rate],
        block: Callable[[str, Obstruction], None],
    ) -> None:
        operand = self.values[node.operands[link.operand]]
        component, samples = operand.rates[axis]
        rate = (component, samples / steps[axis].reads.scale)
        if axis not in rates:
            rates[axis] = rate
        elif not self.rates.tie(rates[axis], rate):
            mine, other = self.rates.root(rate)[1], self.rates.root(rates[axis])[1]
            block(
                axis,
                Obstruction(Cause.SCALE_MISMATCH, f"branches meet at scales {1 / other} and {1 / mine}"),
            )
            del steps[axis]
            return
        self.rates.whole(rate, steps[axis].reads.period)

    # ---- reaches ------------------------------------------------------------------------------------------

    def _own_obstacles(
        self, node: Node, law: Law, labels: tuple[str, ...], rates: Mapping[str, Rate]
    ) -> dict[str, Obstacle]:
        """What stands in the way of every input: absolute positions, randomness."""
        here = {axis: self._obstacle(node, axis, why) for axis, why in self.misplaced.items()}
        self.misplaced = {}
        drawn = any(value.random for value in constants_in(node.args.values()))
        drawn = drawn or any(why.cause is Cause.RANDOM for _, why in law.blocks)
        drawn = drawn or any(operand in self.drawn for operand in node.operands)
        if drawn and not rates:  # drawn without an axis to stand on: it counts where it meets one
            self.drawn.add(node.name)
        elif drawn:
            why = Obstruction(Cause.RANDOM, "uses values that are drawn at random or change with every call")
            here = {axis: self._obstacle(node, axis, why) for axis in self._axes(node, rates)}
        for d, why in law.blocks:
            if labels[d] not in (CELL, LOST) and labels[d] not in here:
                here[labels[d]] = self._obstacle(node, labels[d], why)
        return here

    def _axes(self, node: Node, rates: Mapping[str, Rate]) -> set[str]:
        return set(rates).union(*(self.values[o].rates for o in node.operands))

    def _behind(self, reaches: InputReads, here: Mapping[str, Obstacle]) -> InputReads:
        return tuple(
            replace(r, via=r.via | {here[axis]}) if r and axis in here else r
            for (_, axis), r in zip(self.slots, reaches, strict=True)
        )


def _at_this_size(text: str) -> Obstruction:
    return Obstruction(Cause.SIZE_DEPENDENT, f"holds at this size only: {text}")
