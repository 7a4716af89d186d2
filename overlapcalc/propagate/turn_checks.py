"""What masks of needs do not show about a loop: whether operators, and the places that they read, are the same from
turn to turn and at any number of turns."""

from __future__ import annotations

from collections.abc import Callable

from ..algebra.cell_map import CellMap, DimMap
from ..ops.facts import kind_of
from ..ops.graph import Node
from ..ops.kind import Kind
from ..ops.law import Cause
from .forward import Forward
from .growth import Growth, OtherwiseError
from .lines import numbers
from .unrolled import Unrolled
from .values import TensorReads

GrowthOf = Callable[[str], Growth | None]


def refuse_others(loop: Unrolled, here: Forward, more: Forward, growth: GrowthOf) -> None:
    """Raises OtherwiseError for a loop of another kind. here, more: the net with no turn more, and with one."""
    _refuse_drawn(here)
    nodes = {node.name: node for node in here.nodes}
    order, last = loop.graph.order, loop.stop - loop.turn
    for name, step in zip(order[last : loop.stop], loop.step, strict=True):
        if numbers(step[1]):  # it takes other places of what it reads: they must move with the axis
            _refuse_unless(_moved(more.values[name], more.values[f"{name}~1"], growth))
    around = zip((*order[:last], *order[loop.stop :]), (*loop.early[:last], *loop.late), strict=True)
    for name, line in around:
        if name in loop.rest:
            continue
        if numbers(line[1]):
            pair = here.values[name], more.values[name]
            _refuse_unless(_alike(*pair) or (growth(name) is None and _moved(*pair, growth)))
        _refuse_size(nodes[name], here, growth)


def _refuse_unless(found: bool) -> None:
    if not found:
        raise OtherwiseError


def _refuse_drawn(run: Forward) -> None:
    """No two runs of what is drawn at random give the same."""
    _refuse_unless(not run.drawn and not any(o.cause == Cause.RANDOM.value for o in run.obstacles))


def _moved(one: TensorReads, later: TensorReads, growth: GrowthOf) -> bool:
    """Whether a call of a turn reads what it does in the turn before, moved along what gets longer."""
    if len(one.paths) != len(later.paths) or all(growth(path.operand) is None for path in one.paths):
        return False
    for a, b in zip(one.paths, later.paths, strict=True):
        if a.axes != b.axes:
            return False
        grown = growth(a.operand)
        place, by = (None, 0) if grown is None else (grown.place, grown.by)
        if not all(
            [[i + (by if s == place else 0) for i in row] for row in x.table] == [list(row) for row in y.table]
            for s, x, y in _pairs(a.cells, b.cells)
        ):
            return False
    return True


def _alike(one: TensorReads, larger: TensorReads) -> bool:
    """Whether a call around the loop reads by the same law with one turn more, counted from the start."""
    return len(one.paths) == len(larger.paths) and all(
        a.axes == b.axes and (x.reads is None) == (y.reads is None) and x.reads == y.reads
        for a, b in zip(one.paths, larger.paths, strict=True)
        for _, x, y in _pairs(a.cells, b.cells)
    )


def _pairs(a: CellMap, b: CellMap) -> list[tuple[int | None, DimMap, DimMap]]:
    """The dimensions of two maps of the same kind, one by one."""
    _refuse_unless(a.flat == b.flat and [p[:2] for p in a.pairs] == [p[:2] for p in b.pairs])
    return [(s, x, y) for (s, _, x), (_, _, y) in zip(a.pairs, b.pairs, strict=True)]


def _refuse_size(node: Node, here: Forward, growth: GrowthOf) -> None:
    """A call around the loop whose weights may depend on how many samples there are."""
    value, grown = here.values[node.name], growth(node.name)
    if grown is None or kind_of(node) is Kind.CONCATENATION:
        return
    for path in value.paths:
        if growth(path.operand) is None:  # something of a fixed size, of which there may be no more
            rows = [x.table for _, t, x in path.cells.pairs if t == grown.place]
            _refuse_unless(not path.cells.flat and all(list(row) == list(table[0]) for table in rows for row in table))
    law = value.law
    stands = [dim for link in law.links for dim in link.dims if dim.target == grown.part]
    _refuse_unless(not any(dim.obstruction for dim in stands) and not any(d == grown.part for d, _ in law.obstructions))
    if law.by_size is not None:
        size = value.layout.sizes[grown.part]
        for path in value.paths:
            other = growth(path.operand)
            _refuse_unless(other is not None)
            assert other is not None
            _refuse_unless(size * other.by == here.values[path.operand].layout.sizes[other.part] * grown.by)
