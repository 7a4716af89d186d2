"""Graph -> Propagation: what every tensor of a net reads of every input, axis by axis.

A tensor's value is one Reads per (input, axis), kept per cell (channels). An operator's law is resolved into paths,
one per link, each with an index map per axis and a map of the cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..algebra.cells import Field
from ..algebra.index_map import IndexMap
from ..algebra.reshape import CELL, Factoring, Joins, Part, Reshape, Run, view
from ..errors import RuleError, UnknownOperatorError, foreseen
from ..ops import Call, find, steps_before
from ..ops.facts import takes_functions
from ..ops.graph import STEP_OF, Data, Graph, Node
from ..ops.law import DimRead, Law, Link, Obstruction
from ..ops.place import linked, settled
from .resolve import Resolver, at_this_size
from .staged_laws import with_states
from .values import NOTHING, Obstacle, Propagation, Reads, TensorReads
from .views import JOINT_OUTPUT, out_parts, spelled, spelled_law, view_steps


def propagate(
    graph: Graph,
    *,
    names: Mapping[str, str] | None = None,
    differing: Mapping[str, Mapping[str, str]] | None = None,
    sizes_verified: bool = True,
    coarser: Mapping[str, int] | None = None,
    views: Mapping[str, Reshape] | None = None,
    at_size: bool = False,
    placed: bool = False,
    looped: Mapping[str, Obstacle] | None = None,
    carried: bool = False,
) -> Propagation:
    """What every tensor of the graph reads of every input.

    names: what to call each node in messages. differing: node -> axis -> why it is known to depend on the image's
    size (found by a second trace). sizes_verified: False where no second trace ran, so that factors taken from
    sizes are refused. coarser: axis -> how many times coarser the grid is than its operators require, because the net
    means the same only at multiples of that (it pads to a multiple, say). views: node -> how its view was understood
    at another size, adopted wherever it gives the shapes of this one. at_size: the laws of this size alone, which a
    schedule other than crop can run by: tables where there is no periodic law, whatever a second trace showed.
    placed: each sample is made with the constants of its own place, which so may differ at every position. looped: axis
    -> the one obstacle on it, of a net that takes its samples one after another.
    carried: how far ahead the net reads: operators that carry a state along an axis are followed up to each sample,
    instead of being obstacles, and constants of their own place impose nothing. Only where reads end is then right.
    Raises UnknownOperatorError with all operators that have no rule.
    """
    given = (graph, names or {}, differing or {}, sizes_verified, views or {}, at_size, placed or carried)
    run = Forward(*given, looped=looped, carried=carried)
    run.follow()
    torn = run.mirrors.torn.union(*(run.mirrors.of.get(name, ()) for _, name in graph.outputs))
    if torn:
        run = Forward(*given, torn, looped=looped, carried=carried)
        run.follow()
    if run.unknown:
        raise UnknownOperatorError(_unknown_message(run.unknown, run.names))
    run.coarsen(coarser or {})
    run.refuse_joint_outputs()
    return Propagation(
        traced=graph,
        graph=run.taken_apart(),
        slots=run.slots,
        values=run.values,
        rates=run.rates,
        obstacles=tuple(dict.fromkeys(run.obstacles)),
        names=run.names,
        mirrored=run.mirrors.of,
    )


def _unknown_message(nodes: list[Node], names: Mapping[str, str]) -> str:
    lines = [f"no rule for {len(nodes)} operator call{'s' if len(nodes) > 1 else ''} of this net:"]
    for node in nodes:
        at = f" at {node.source}" if node.source else ""
        lines.append(f"  {node.op} in {names.get(node.name) or node.layer or node.name}{at}")
    given = [takes_functions(node.op) for node in nodes]
    if any(given):
        lines.append(
            "loops, branches and scans of functions are not followed: write them as plain Python, or as torch.where"
        )
    if not all(given):
        lines.append("register a rule for each with overlapcalc.rule(NAME); docs/add-an-operator.md shows how")
    return "\n".join(lines)


class Forward(Resolver):
    """One forward pass, node by node."""

    joins: Joins | None = None
    """See algebra/reshape.view."""

    def follow(self) -> None:
        for node in self.graph:
            with foreseen(self.names.get(node.name) or node.layer or node.name, node.op, node.source):
                self.visit(node)

    def visit(self, node: Node) -> None:
        if node.op == "input":
            self.keep(node, self.input_of(node))
            return
        node = self._after_steps(node)
        law = self.law_of(node)
        if law is None:
            self.unknown.append(node)
            self.keep(node, self._unknown_value(node))
        elif law.links and law.links[0].runs is not None:
            self._view(node, law.links[0].runs)
        else:
            self.keep(node, self._apply(node, law))

    def _after_steps(self, node: Node) -> Node:
        """The node as it follows the steps before its operator, if there are any."""
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
        """The graph with its views replaced by their steps, where they have any."""
        return (
            self.graph if len(self.nodes) == len(self.graph.order) else Graph.of(self.nodes, list(self.graph.outputs))
        )

    def keep(self, node: Node, value: TensorReads) -> None:
        self.nodes.append(node)
        self.values[node.name] = value
        self.shapes[node.name] = node.shape
        if node.truth:
            self.truths.add(node.name)

    def _view(self, node: Node, runs: Sequence[Run]) -> None:
        layout = self.values[node.operands[0]].layout
        known = self.views[node.name].applied(layout, node.shape) if node.name in self.views else None
        found = known or view(layout, runs, node.shape, self.joins)
        for step in view_steps(node, layout, found):
            if step.links is None:
                law = self.law_of(step.node)
                assert law is not None
            else:
                law = Law(step.links)
            self.names[step.node.name] = self.names.get(node.name, node.layer or node.name)
            value = self._connect(step.node, law, step.layout, step.layout.labels)
            self.keep(step.node, replace(value, view=found) if step.node.name == node.name else value)

    def input_of(self, node: Node) -> TensorReads:
        labels = node.axes
        layout = Factoring.plain(node.shape, labels)
        rates = {}
        for axis in labels:
            if axis == CELL:
                continue
            rates[axis] = self.rates.component()
            self.rates.whole(rates[axis])
        one = Reads(IndexMap.identity(), IndexMap.identity())
        reads = tuple(one if slot[0] == node.name else NOTHING for slot in self.slots)
        # where the net returns this input at one size, and not at another
        texts = {} if self.at_size else self.differing.get(node.name, {})
        here = {axis: self._obstacle(node, axis, at_this_size(text)) for axis, text in texts.items()}
        return TensorReads(layout, rates, Field.one(layout.cells, self._behind(reads, here)))

    def coarsen(self, times: Mapping[str, int]) -> None:
        steps = self.rates.steps()
        for inp, axis in self.slots:
            if times.get(axis, 1) > 1:
                rate = self.values[inp].rates[axis]
                component, samples = self.rates.root(rate)
                self.rates.whole(rate, int(samples * steps[component]) * times[axis])

    def refuse_joint_outputs(self) -> None:
        """An output whose dimension holds more than an axis is no image along that axis: blocks cannot be laid side
        by side. Readers inside the net are unaffected."""
        for _, name in self.graph.outputs:
            value, node = self.values[name], self.graph[name]
            joint = [value.layout.places(d) for d, width in enumerate(value.layout.widths) if width > 1]
            axes = {value.layout.labels[i] for places in joint for i in places if value.layout.parts[i].is_axis}
            here = {axis: self._obstacle(node, axis, JOINT_OUTPUT) for axis in sorted(axes)}
            if here:
                cells = value.cells.map(lambda reads, here=here: self._behind(reads, here))  # type: ignore[misc]
                self.values[name] = replace(value, cells=cells)

    def _unknown_value(self, node: Node) -> TensorReads:
        """A stand-in for an operator without a rule, so that all others are reached and listed too."""
        operand = self.values.get(node.operands[0]) if node.operands else None
        same = operand is not None and operand.layout.simple and len(operand.labels) == len(node.shape)
        layout = Factoring.plain(
            node.shape, operand.labels if operand is not None and same else (CELL,) * len(node.shape)
        )
        rates = operand.rates if operand is not None and same else {}
        return TensorReads(layout, rates, Field.one(layout.cells, self.composer.nothing))

    # ---- laws ---------------------------------------------------------------------------------------------

    def law_of(self, node: Node) -> Law | None:
        """The rule's law, completed: whatever the rule does not mention is refused."""
        call = self._call(node)
        law = self._said(node, call)
        if law is not None and self.carried:
            law = with_states(law)
        if law is None or any(link.runs is not None for link in law.links):
            return law
        return settled(linked(law, call), node.args, node.shape, placed=self.placed)

    def _said(self, node: Node, call: Call) -> Law | None:
        known = find(node.op)
        if known is not None:
            return known.law(call)
        if node.pointwise:
            return call.broadcast()
        if all(not set(self.values[o].rates) for o in node.operands):
            # No operand has a spatial axis left (a classifier's head): whatever this does comes after obstacles
            # that are already known, so "reads everything" is enough.
            links = []
            for k, shape in enumerate(call.shapes):
                dims = [DimRead(s, None) for s in range(len(shape))]
                links.append(Link(k, (*dims, *(DimRead(None, t) for t in range(len(node.shape))))))
            return Law(tuple(links))
        return None

    # ---- one call -----------------------------------------------------------------------------------------

    def _apply(self, node: Node, law: Law) -> TensorReads:
        """A call by its law, with dimensions spelled out as the parts that they consist of."""
        for link in law.links:
            self._check(node, link)
        operands = [self.values[o].layout for o in node.operands]
        if all(layout.simple for layout in operands):
            return self._connect(node, law, Factoring.plain(node.shape, (CELL,) * len(node.shape)))
        sizes = out_parts(law.links, operands, node.shape)
        out = Factoring.grouped([[Part(n) for n in group] for group in sizes])
        links = [spelled(link, operands[link.operand], out)[0] for link in law.links]
        labels = self.labels_for(node, links, out)
        out = Factoring(tuple(map(Part, out.sizes, labels)), out.widths)
        astray: dict[str, Obstruction] = {}
        for link in law.links:
            astray.update(spelled(link, operands[link.operand], out)[1])
        self.misplaced.update(astray)
        return self._connect(node, replace(spelled_law(law, out), links=tuple(links)), out, labels)

    def _check(self, node: Node, link: Link) -> None:
        """A rule must account for every dimension of its operand exactly once, or an axis could vanish unnoticed."""
        shape = self.shapes[node.operands[link.operand]]
        sources = sorted(d.source for d in link.dims if d.source is not None)
        targets = sorted(d.target for d in link.dims if d.target is not None)
        if sources != list(range(len(shape))) or len(set(targets)) != len(targets):
            raise RuleError(
                f"{self.names.get(node.name, node.layer)}: the rule of {node.op} accounts for operand dimensions "
                f"{sources} and output dimensions {targets}; each of the {len(shape)} and "
                f"{len(node.shape)} must stand exactly once"
            )
