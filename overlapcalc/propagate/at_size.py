"""A net at one size, one axis of which is followed sample by sample, beside the same net at other sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

from ..algebra.cells import Field
from ..algebra.reshape import CELL
from ..ops import plain_name
from ..ops.graph import CUT, Graph, Node
from ..ops.law import Cause
from .cell_needs import needed, uncut
from .compare import scalars
from .forward import Forward
from .left_out import LeftOut
from .through import cell_places
from .values import TensorReads

Growth = tuple[int, int] | None
"""The dimension of cells along which a tensor gets longer with every step, and by how much; None for none."""


class UnlikeError(Exception):
    """A net that is not the same some steps further, or not for all that this can tell."""


class _Beside(Forward):
    """A forward pass in which other axes are joined only with as many places as they were cut into before: what comes
    behind them may be pieces of the axis that is followed."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph, {}, {}, True, {}, True)
        self._pieces = set[tuple[str, int]]()
        self.joins = lambda label, size: (label, size) in self._pieces

    def keep(self, node: Node, value: TensorReads) -> None:
        if node.op == CUT:
            self._pieces.add((value.labels[node.args["dim"]], node.args["piece"]))
        super().keep(node, value)


class AtSize:
    """A net at one size. needs: by output, what its samples need of each tensor (see needs.py)."""

    def __init__(self, graph: Graph, axis: str) -> None:
        run = _Beside(uncut(graph, axis))
        run.follow()
        if run.unknown or run.drawn or any(o.cause == Cause.RANDOM.value for o in run.obstacles):
            raise UnlikeError
        self.graph, self.run, self.nodes, self.values = graph, run, run.nodes, run.values
        self.place = {node.name: i for i, node in enumerate(run.nodes)}
        self.left = LeftOut(run.nodes, run.values, run.shapes)
        self._needs: dict[str, dict[str, Field[int]]] = {}

    def needs(self, output: str, growth: tuple[int, int]) -> dict[str, Field[int]]:
        if output not in self._needs:
            self._needs[output] = needed(self.run, output, growth[0], self.left)
        return self._needs[output]

    def shape(self, k: int) -> tuple[int, ...]:
        """The cells of a node."""
        return self.values[self.nodes[k].name].cells.shape

    def part(self, k: int, place: int) -> int:
        """The part that a dimension of cells is."""
        labels = self.values[self.nodes[k].name].labels
        return next(i for i, at in cell_places(labels).items() if at == place)


def grown(small: AtSize, large: AtSize, steps: int = 1) -> list[Growth]:
    """How each tensor grows per step, given the net so many steps larger. Raises UnlikeError where the two are other
    operators, or one grows in several dimensions."""
    found: list[Growth] = []
    pairs = list(zip(small.nodes, large.nodes, strict=False))
    if len(small.nodes) != len(large.nodes):
        raise UnlikeError
    for k, (a, b) in enumerate(pairs):
        if (plain_name(a), a.result, a.layer) != (plain_name(b), b.result, b.layer):
            raise UnlikeError
        if any(scalars(a, b, small.place, large.place)) or len(small.shape(k)) != len(large.shape(k)):
            raise UnlikeError
        more = [(d, m - n) for d, (n, m) in enumerate(zip(small.shape(k), large.shape(k), strict=True)) if n != m]
        if len(more) > 1 or any(by <= 0 or by % steps for _, by in more):
            raise UnlikeError
        found.append((more[0][0], more[0][1] // steps) if more else None)
    return found


def rows_of(field: Field[int], place: int, stored: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The values at each index along a dimension, the others stored as given."""
    size = field.shape[place]
    stored = (*stored[:place], size, *stored[place + 1 :])
    values, outer, inner = field.spread(stored), prod(stored[:place]), prod(stored[place + 1 :])
    for i in range(size):
        yield tuple(values[(o * size + i) * inner + r] for o in range(outer) for r in range(inner))


def without_axis(at: AtSize, growth: Sequence[Growth]) -> frozenset[int]:
    """The nodes without the axis that no sample along it leads to."""
    found = set[int]()
    for i, node in enumerate(at.nodes):
        if growth[i] is None and node.op == "input":
            found.add(i)
        if growth[i] is None and node.operands and all(at.place[operand] in found for operand in node.operands):
            found.add(i)
    return frozenset(found)


def axis_dim(at: AtSize, k: int, place: int) -> int:
    """The dimension of a tensor that holds a dimension of its cells. Raises UnlikeError where it holds others, too."""
    layout = at.values[at.nodes[k].name].layout
    part = at.part(k, place)
    d = next(d for d in range(len(layout.widths)) if part in layout.places(d))
    if layout.widths[d] != 1 or layout.labels[part] != CELL:
        raise UnlikeError
    return d
