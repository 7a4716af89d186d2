"""The layer graph: frozen nodes over a networkx.DiGraph, which is imported when the first graph is made. No torch here.

A node is one operator that gives one tensor. An operator with several results has one node per result that is used.
Whatever does not depend on an input of the net is not a node but a `Constant` among its reader's arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .layout import AXES, default_layout

if TYPE_CHECKING:
    import networkx as nx

Shapes = tuple[tuple[int, ...], ...]
"""One shape per input of a net, in the order of its inputs."""

STEP_OF = "step_of"
"""The argument of a step that names the operator it is a step of (see views.py)."""
CUT, JOIN, REGROUP = "overlapcalc::cut", "overlapcalc::join", "overlapcalc::regroup"
STEPS = (CUT, JOIN, REGROUP)
"""The steps of views (rules/view_steps.py)."""


def graph_library() -> Any:
    """networkx, imported when it is first needed. It reads the whole environment then, so whoever watches what a model
    reads asks for it before."""
    import networkx

    return networkx


@dataclass(frozen=True)
class Data:
    """A reference to the tensor that a node computes."""

    node: str


@dataclass(frozen=True)
class Constant:
    """A tensor that depends on no input: what is known about it that does not change with training.

    `variation[d]` says how it varies along dimension d: 0 not at all, q >= 1 with that period, None without one
    (or by trained values). `taps`: for a weight that is computed or a buffer, the kernel positions (indices over
    dimensions 2...) that at least one channel pair does not zero for good; None when every position counts.
    `uneven`: channel pairs differ in the positions that they zero. `digest` pins the values that are neither trained
    nor spatial, for comparison with a second trace at another size. `indices`: the values of a small integer vector.
    alive[d]: for each index in one period of dimension d, whether some value there is not zero for good; `product`:
    a value is zero exactly where one of these says so. rows[d]: a hash of the values at each index of dimension d,
    where they vary. pattern: for a factor of a matrix product with zeros for good, the columns that each row uses;
    None where it uses all. With more than two dimensions it is the union over all matrices, and `uneven` says whether
    they differ. made: the net computes it, perhaps from the image's size; it is not a plain parameter, buffer or
    literal. borders[d]: where it has no period along dimension d but for its ends, the lengths of the border before and
    of the border after, and the period between them. marks: one byte per value, 1 where a boolean one is true, or
    another one minus infinity for good; empty where none is. truth: it is boolean.
    """

    shape: tuple[int, ...]
    variation: tuple[int | None, ...] = ()
    random: bool = False
    taps: tuple[tuple[int, ...], ...] | None = None
    uneven: bool = False
    digest: str = ""
    indices: tuple[int, ...] | None = None
    alive: tuple[tuple[bool, ...], ...] = ()
    product: bool = True
    rows: tuple[tuple[int, ...], ...] = field(default=(), repr=False)
    pattern: tuple[tuple[int, ...], ...] | None = field(default=None, repr=False)
    made: bool = False
    borders: tuple[tuple[int, int, int] | None, ...] = ()
    marks: bytes = field(default=b"", repr=False, compare=False)
    truth: bool = False


@dataclass(frozen=True)
class Node:
    """One operator: `op` is its qualified name, `layer` the module path, `source` "file:line" or "".

    leaf: the class of the layer where it has no layers of its own, else "". result: which of the operator's
    results this is. pointwise: torch tags it as such. layout: for an input, the letters of its dimensions, where they
    were given. truth: it is boolean.

    >>> node = Node("y", "aten::cat", {"tensors": (Data("a"), Data("b")), "dim": 1}, shape=(1, 6, 8, 8))
    >>> node.operands
    ('a', 'b')
    """

    name: str
    op: str
    args: Mapping[str, Any]
    shape: tuple[int, ...]
    result: int = 0
    layer: str = ""
    leaf: str = ""
    source: str = ""
    pointwise: bool = False
    layout: str = ""
    truth: bool = False

    @property
    def called(self) -> str:
        """The operator that the net calls: for a step, the one it is a step of."""
        return str(self.args.get(STEP_OF, self.op))

    @property
    def letters(self) -> str:
        """For an input: its layout, the default one where none was given."""
        return self.layout or default_layout(len(self.shape))

    @property
    def axes(self) -> tuple[str, ...]:
        """For an input: the axis of each dimension, "" for one that is not an axis."""
        return tuple(letter if letter in AXES else "" for letter in self.letters)

    @property
    def operands(self) -> tuple[str, ...]:
        """The names of the nodes that it reads, in argument order, with repeats."""
        return tuple(d.node for d in data_in(self.args.values()))


def data_in(values: Any) -> Iterator[Data]:
    for v in values:
        if isinstance(v, Data):
            yield v
        elif isinstance(v, (tuple, list)):
            yield from data_in(v)


def constants_in(values: Any) -> Iterator[Constant]:
    for v in values:
        if isinstance(v, Constant):
            yield v
        elif isinstance(v, (tuple, list)):
            yield from constants_in(v)


@dataclass(frozen=True)
class Graph:
    """A net at one size. `inputs` are node names (op "input"), `outputs` pairs (name shown, node).

    leaves: what the net returns, flattened as a pytree of torch: the name of an output, "" for a None, or None for
    what depends on no input. arguments: how forward is called, where it takes more than tensors (trace/arguments.py).
    Only a graph fresh from the tracer has them.

    >>> x = Node("x", "input", {}, shape=(1, 3, 8, 8))
    >>> y = Node("y", "aten::relu", {"self": Data("x")}, shape=(1, 3, 8, 8))
    >>> [node.op for node in Graph.of([x, y], [("output", "y")])]
    ['input', 'aten::relu']
    """

    nodes: nx.DiGraph = field(repr=False)
    order: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[tuple[str, str], ...]
    leaves: tuple[str | None, ...] = ()
    arguments: Any = field(default=None, compare=False)

    @property
    def fixed(self) -> Mapping[str, Any]:
        """What forward takes besides tensors, by name: it is part of the net."""
        return {} if self.arguments is None else self.arguments.fixed

    def with_args(self, args: Mapping[str, Mapping[str, Any]]) -> Graph:
        """The same graph with other arguments for some nodes, which read the same nodes as before."""
        nodes = [replace(n, args=args[n.name]) if n.name in args else n for n in self]
        return Graph.of(nodes, list(self.outputs))

    def up_to(self, outputs: Sequence[tuple[str, str]], like: Graph) -> Graph | None:
        """The part of this net that leads to other outputs, given as nodes of `like`.

        `like` is the same net, perhaps at another size: nodes correspond by position. None where the operators up to
        there differ.
        """
        last = max((like.order.index(node) for _, node in outputs), default=-1) + 1
        if [(self[a].op, self[a].result) for a in self.order[:last]] != [
            (like[b].op, like[b].result) for b in like.order[:last]
        ]:
            return None
        part = Graph.of(list(self), [(shown, self.order[like.order.index(node)]) for shown, node in outputs])
        return replace(part, arguments=self.arguments)

    @staticmethod
    def of(nodes: list[Node], outputs: list[tuple[str, str]]) -> Graph:
        """The graph of `nodes` (in execution order), without those that no output needs; all inputs stay."""
        nx = graph_library()
        digraph = nx.DiGraph()
        for node in nodes:
            digraph.add_node(node.name, node=node)
            digraph.add_edges_from((operand, node.name) for operand in node.operands)
        wanted = {name for _, name in outputs}
        live = wanted | {n.name for n in nodes if n.op == "input"}
        while wanted:  # once for all outputs
            read = set(digraph.predecessors(wanted.pop())) - live
            live |= read
            wanted |= read
        digraph.remove_nodes_from([n for n in digraph if n not in live])
        return Graph(
            nx.freeze(digraph),
            tuple(n.name for n in nodes if n.name in live),
            tuple(n.name for n in nodes if n.op == "input"),
            tuple(outputs),
        )

    @cached_property
    def places(self) -> Mapping[str, int]:
        """The place of each node in the order."""
        return {name: i for i, name in enumerate(self.order)}

    def inputs_of(self, name: str) -> tuple[str, ...]:
        """The inputs that a node depends on."""
        before = self.before(name)
        return tuple(i for i in self.inputs if i in before)

    def before(self, name: str) -> set[str]:
        """The nodes that a node depends on, without itself."""
        return set(graph_library().ancestors(self.nodes, name))

    def readers(self, name: str) -> Iterator[str]:
        """The nodes that read a node's tensor."""
        return iter(self.nodes.successors(name))

    def __getitem__(self, name: str) -> Node:
        node: Node = self.nodes.nodes[name]["node"]
        return node

    def __iter__(self) -> Iterator[Node]:
        return (self[name] for name in self.order)
