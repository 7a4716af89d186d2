"""One call of a net, by its law: what its output reads, which axes it has, which obstacles it adds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from ..algebra.cells import Field
from ..algebra.index_map import IndexMap
from ..algebra.rates import Rate, RateTies
from ..algebra.reshape import CELL, LOST, Factoring, Part, Reshape
from ..ops import Call
from ..ops.graph import STEPS, Graph, Node, constants_in
from ..ops.law import HELP, Cause, DimRead, Evenness, Law, Link, Obstruction
from ..ops.place import DIFFERS
from .mirrors import Mirrors
from .through import Composer, cell_places, paired
from .values import MADE, AxisRead, InputAxis, InputReads, Obstacle, Path, Since, TensorReads, joined_reads
from .views import ELSEWHERE


class Resolver:
    """The state of one forward pass, and how a law becomes what a tensor reads."""

    def __init__(
        self,
        graph: Graph,
        names: Mapping[str, str],
        differing: Mapping[str, Mapping[str, str]],
        sizes_verified: bool,
        views: Mapping[str, Reshape],
        at_size: bool = False,
        placed: bool = False,
        never_mirrored: Collection[str] = (),
        looped: Mapping[str, Obstacle] | None = None,
        carried: bool = False,
    ) -> None:
        self.mirrors = Mirrors(never_mirrored)
        self.views, self.at_size, self.placed, self.carried = views, at_size, placed, carried
        self.looped = looped or {}
        self.graph, self.names, self.differing, self.sizes_verified = graph, dict(names), differing, sizes_verified
        self.nodes: list[Node] = []
        self.truths: set[str] = set()
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.slots: tuple[InputAxis, ...] = tuple(
            (name, axis) for name in graph.inputs for axis in graph[name].axes if axis != CELL
        )
        self.composer = Composer(self.slots, only_via=at_size)
        self.values: dict[str, TensorReads] = {}
        self.rates = RateTies()
        self.obstacles: list[Obstacle] = []
        self.unknown: list[Node] = []
        self.drawn: set[str] = set()
        self.misplaced: dict[str, Obstruction] = {}  # per axis of the node at hand

    def _call(self, node: Node) -> Call:
        """The call as its rule sees it; a step of a view sees the parts of its operand as dimensions."""
        parts = node.op in STEPS
        shapes = tuple(self.values[o].layout.sizes if parts else self.shapes[o] for o in node.operands)
        return Call(node, shapes, tuple(o in self.truths for o in node.operands))

    def _obstacle(self, node: Node, axis: str, why: Obstruction) -> Obstacle:
        if why.begins:
            node = next((n for n in (*self.graph, *self.nodes) if n.name == why.begins), node)
        obstacle = self.looped.get(axis) or Obstacle(
            layer=self.names.get(node.name, node.layer or node.name),
            op=node.called,
            axis=axis,
            cause=why.cause.value,
            message=why.message,
            source=node.source,
            help=why.help or HELP[why.cause],
        )
        self.obstacles.append(obstacle)
        return obstacle

    def _connect(self, node: Node, law: Law, layout: Factoring, labels: tuple[str, ...] | None = None) -> TensorReads:
        """What a node reads by a law in terms of parts. labels: what each part is; when absent, as the links say."""
        if not self.at_size:
            layouts = {name: self.values[name].layout for name in node.operands}
            law = self.mirrors.law(node, law, layout, layouts)
        links = [link for link in law.links if self._wanted(node, link)]
        labels = self.labels_for(node, links, layout) if labels is None else labels
        layout = Factoring(tuple(map(Part, layout.sizes, labels)), layout.widths)
        rates: dict[str, Rate] = {}
        paths = [self.path_of(node, link, layout, rates, law) for link in links]
        for label in labels:
            if label not in (CELL, LOST) and label not in rates:  # every path to it is obstructed, or there is none
                rates[label] = self._spread_rate(label, layout.sizes[labels.index(label)])
        for rate in rates.values():
            self.rates.whole(rate)
        for d, period in law.period:
            if labels[d] in rates:
                self.rates.whole(rates[labels[d]], period)
        cells = Field.one(layout.cells, self.composer.nothing)
        for path in paths:
            cells = cells.merge(self.composer.through(path, self.values[path.operand].cells), self.composer.join)
        spread = {a for a in rates if not any(a in path.axes or a in path.obstructed for path in paths)}
        if spread:
            cells = cells.map(lambda reads: self._made(reads, spread))
        here = self.own_obstacles(node, law, labels, rates)
        if not self.sizes_verified and not self.at_size:
            unsure = {labels[d] for d, *_ in law.margins} & rates.keys() | spread
            here |= {axis: self._obstacle(node, axis, UNSURE) for axis in sorted(unsure - here.keys())}
        if here:
            cells = cells.map(lambda reads: self._behind(reads, here))
        return TensorReads(layout, rates, cells, tuple(paths), law)

    def _wanted(self, node: Node, link: Link) -> bool:
        if link.only_for is None:
            return True
        if self.at_size:  # what cells read is not composed, so that they may read different things; this form is right
            return link.only_for is Evenness.UNEVEN
        value = self.values[node.operands[link.operand]]
        places = cell_places(value.labels)
        mixed = {dim.source for dim in link.dims if dim.target is None or dim.reads != IndexMap.identity()}
        even = not any(value.cells.varies(place) for d, place in places.items() if d in mixed)
        return even == (link.only_for is Evenness.EVEN)

    def labels_for(self, node: Node, links: Sequence[Link], layout: Factoring) -> tuple[str, ...]:
        """What each output part is: an axis where any link keeps one, lost where a link tears one apart."""
        found: list[str] = []
        torn = any(self._torn(node, link) for link in links)
        taken = {dim.target for link in links for dim in link.dims if dim.source is not None} if torn else set()
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
                    kept = label != LOST and self.follows(dim, label)
                    if kept and label not in found and best in (CELL, LOST):
                        best = label
                    elif best == CELL and size > 1:
                        best = LOST
            found.append(LOST if torn and size > 1 and t not in taken else best)
        return self._spread(node, links, layout, found)

    def _torn(self, node: Node, link: Link) -> bool:
        """Whether lost parts of an operand go somewhere, and nothing says where."""
        operand = self.values[node.operands[link.operand]].labels
        gone = (dim.source for dim in link.dims if dim.target is None)
        return LOST in operand and any(operand[source] == LOST for source in gone if source is not None)

    def _spread(self, node: Node, links: Sequence[Link], layout: Factoring, found: list[str]) -> tuple[str, ...]:
        """With the axes along which one sample is spread: it reads nothing along them.

        Such a dimension may be called any axis. It is called the one that the first input with axes has there: where
        that is not the one that it is joined with, the net is refused.
        """
        like = next((self.graph[name].axes for name in self.graph.inputs if any(self.graph[name].axes)), ())
        if not layout.simple or len(like) != len(found):
            return tuple(found)
        for d, axis in enumerate(like):
            if axis == CELL or axis in found or found[d] != CELL or layout.sizes[d] == 1:
                continue
            read = [(link, dim.source) for link in links for dim in link.dims if dim.target == d]
            if all(s is None or self.values[node.operands[link.operand]].layout.sizes[s] == 1 for link, s in read):
                found[d] = axis
        return tuple(found)

    def follows(self, dim: DimRead, label: str) -> bool:
        """Whether an axis stays one along a dimension."""
        if (self.at_size and dim.table is not None) or (self.carried and dim.carried is not None):
            return True
        return dim.reads is not None and dim.obstruction is None

    def path_of(self, node: Node, link: Link, layout: Factoring, rates: dict[str, Rate], law: Law) -> Path:
        operand_name = node.operands[link.operand]
        operand = self.values[operand_name]
        labels = layout.labels
        axes: dict[str, AxisRead] = {}
        obstructed: dict[str, Obstacle] = {}
        states: dict[str, Obstacle] = {}
        differing = self.differing.get(node.name, {})

        def obstruct(axis: str, why: Obstruction) -> None:
            if axis not in obstructed:
                obstructed[axis] = self._obstacle(node, axis, why)

        for dim in link.dims:
            source = operand.labels[dim.source] if dim.source is not None else CELL
            target = labels[dim.target] if dim.target is not None else CELL
            if source not in (CELL, LOST):
                here = dim.table if self.at_size and target == source else None
                if here is not None:
                    axes[source] = AxisRead(here, dim.border, dim.least, dim.picks)
                elif self.carried and dim.carried is not None and dim.obstruction is not None and target == source:
                    axes[source] = AxisRead(IndexMap.identity(), carried=True)
                    states[source] = self._obstacle(node, source, dim.obstruction)
                elif dim.obstruction is not None:
                    obstruct(source, dim.obstruction)
                elif dim.reads is None:
                    obstruct(source, Obstruction(Cause.GLOBAL, "reads the whole axis"))
                elif target != source:
                    obstruct(source, Obstruction(Cause.AXES_MIXED, "lays the axis across another one"))
                elif law.by_size and not self.sizes_verified and not self.at_size:
                    obstruct(source, law.by_size)
                elif source in differing and not self.at_size:
                    obstruct(source, dim.otherwise or at_this_size(differing[source]))
                else:
                    axes[source] = AxisRead(dim.reads, dim.border, dim.least)
            elif dim.source is not None and source == CELL and target not in (CELL, LOST):
                known = any(o.axis == target for r in operand.cells.union(joined_reads) for o in r.via)
                if operand.layout.sizes[dim.source] > 1 and not known:
                    self.misplaced[target] = ELSEWHERE
        for axis in list(axes):
            self._rate(node, link, axis, axes, rates, obstruct)
        exact = link.exact or bool(states)  # a bound is meant for the whole axis
        return Path(operand_name, axes, obstructed, paired(link, operand.layout, layout), exact, states)

    def _rate(
        self,
        node: Node,
        link: Link,
        axis: str,
        axes: dict[str, AxisRead],
        rates: dict[str, Rate],
        obstruct: Callable[[str, Obstruction], None],
    ) -> None:
        if self.at_size:  # branches may meet at any scale, as long as their sizes agree
            rates.setdefault(axis, self.rates.component())
            return
        operand = self.values[node.operands[link.operand]]
        component, samples = operand.rates[axis]
        rate = (component, samples / axes[axis].reads.scale)
        if axis not in rates:
            rates[axis] = rate
        elif not self.rates.tie(rates[axis], rate):
            mine, other = self.rates.root(rate)[1], self.rates.root(rates[axis])[1]
            obstruct(
                axis,
                Obstruction(Cause.SCALE_MISMATCH, f"branches meet at scales {1 / other} and {1 / mine}"),
            )
            del axes[axis]
            return
        self.rates.whole(rate, axes[axis].reads.period)

    def own_obstacles(
        self, node: Node, law: Law, labels: tuple[str, ...], rates: Mapping[str, Rate]
    ) -> dict[str, Obstacle]:
        """Obstacles for every input: absolute positions, randomness."""
        here = {axis: self._obstacle(node, axis, why) for axis, why in self.misplaced.items()}
        self.misplaced = {}
        drawn = any(value.random for value in constants_in(node.args.values()))
        drawn = drawn or any(why.cause is Cause.RANDOM for _, why in law.obstructions)
        drawn = drawn or any(operand in self.drawn for operand in node.operands)
        if drawn and not rates:  # drawn without any axis: it counts where it meets one
            self.drawn.add(node.name)
        elif drawn:
            why = Obstruction(Cause.RANDOM, "uses values that are drawn at random or change with every call")
            here = {axis: self._obstacle(node, axis, why) for axis in self._axes(node, rates)}
        for d, why in law.obstructions:
            if self.at_size and why == DIFFERS:  # the constant is cut as the samples are
                continue
            if labels[d] not in (CELL, LOST) and labels[d] not in here:
                here[labels[d]] = self._obstacle(node, labels[d], why)
        return here

    def _axes(self, node: Node, rates: Mapping[str, Rate]) -> set[str]:
        return set(rates).union(*(self.values[o].rates for o in node.operands))

    def _behind(self, reads: InputReads, here: Mapping[str, Obstacle]) -> InputReads:
        return tuple(
            replace(r, via=r.via | {here[axis]}) if (r or r.made) and axis in here else r
            for (_, axis), r in zip(self.slots, reads, strict=True)
        )

    def _made(self, reads: InputReads, axes: set[str]) -> InputReads:
        return tuple(r | MADE if axis in axes else r for (_, axis), r in zip(self.slots, reads, strict=True))

    def _spread_rate(self, axis: str, size: int) -> Rate:
        """The rate of an axis that is read nowhere: by its size, where that is a plain multiple of an input's."""
        rate = self.rates.component()
        name = next((name for name, other in self.slots if other == axis), None)
        if name is None or self.at_size or name not in self.values:
            return rate
        of = self.values[name]
        whole = of.layout.sizes[of.labels.index(axis)]
        if size and whole and (whole % size == 0 or size % whole == 0):
            component, samples = of.rates[axis]
            return component, samples * Fraction(size, whole)
        return rate


UNSURE = Obstruction(
    Cause.SIZE_DEPENDENT, "is made for a size, and the net runs at no other one that was tried, which would show how"
)


def at_this_size(text: str) -> Obstruction:
    begins = text.node if isinstance(text, Since) else ""
    return Obstruction(Cause.SIZE_DEPENDENT, f"holds at this size only: {text}", begins=begins)
