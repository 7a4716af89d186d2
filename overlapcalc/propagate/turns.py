"""The net that a loop makes of many turns, and what its outputs need of every tensor, sample by sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..algebra.cells import Field
from ..algebra.reshape import CELL
from ..ops.graph import Graph
from .cell_needs import by_cells, followed_by_cells, needed, uncut
from .forward import Forward
from .growth import Growth, OtherwiseError
from .lines import numbers
from .through import cell_places
from .turn_checks import refuse_others
from .unrolled import Unrolled
from .values import TensorReads


class Turns:
    """A net with many more turns than it has at its own size, followed sample by sample along the axis of the loop.

    Masks are whole numbers: bit o is set for what sample o of an output needs. count: how many turns are alike.
    """

    def __init__(self, loop: Unrolled, axis: str, more: int) -> None:
        self._loop, self._more = loop, more
        first = loop.stop - loop.turns * loop.turn
        order = loop.graph.order
        self._in_turn = {order[i]: divmod(i - first, loop.turn) for i in range(first, loop.stop)}
        self._in_turn.update({name: (loop.turns, i) for name, i in loop.rest.items()})
        self._last = order[loop.stop - loop.turn : loop.stop]
        self.count = loop.turns + more + bool(loop.rest)
        self._small, self._next = (followed_by_cells(uncut(loop.at(k), axis)) for k in (0, 1))
        self._next_nodes = {node.name: node for node in self._next.nodes}
        self._growing: dict[str, Growth | None] = {}
        refuse_others(loop, self._small, self._next, self.growth)
        self.net = self._at(uncut(loop.at(more), axis))
        self.unread = self._without_samples()

    # ---- nodes --------------------------------------------------------------------------------------------

    def turn_of(self, name: str) -> tuple[int, str] | None:
        """The turn that a node belongs to, of those that are alike, and which of its nodes it is."""
        traced, slash, step = name.partition("/")
        base, _, t = traced.partition("~")
        if base not in self._in_turn:
            return None
        turn, i = self._in_turn[base]
        return turn + (self._more if base in self._loop.rest else int(t or 0)), f"{i}{slash}{step}"

    def growth(self, name: str) -> Growth | None:
        """How a tensor gets longer with every turn; None where it does not. Raises OtherwiseError where that is not
        along one dimension that is followed."""
        turn = self.turn_of(name)
        key = name if turn is None else f"/{turn[1]}"
        if key not in self._growing:
            self._growing[key] = self._grows(name, turn)
        return self._growing[key]

    def _grows(self, name: str, turn: tuple[int, str] | None) -> Growth | None:
        small, large = self._small.values, self._next.values
        if turn is not None:
            i, slash, step = turn[1].partition("/")
            name, later = f"{self._last[int(i)]}{slash}{step}", f"{self._last[int(i)]}~1{slash}{step}"
            if name not in small or name not in large or _sizes(small[name]) != _sizes(large[name]):
                raise OtherwiseError
            small = large
        else:
            later = name
        if name not in small or later not in large:
            raise OtherwiseError
        sizes = zip(_sizes(small[name]), _sizes(large[later]), strict=False)
        found = [(d, m - n) for d, (n, m) in enumerate(sizes) if m != n]
        labels = large[later].labels
        if not found and len(labels) == len(small[name].labels):
            return None
        (d, by) = found[0]
        if len(found) > 1 or by <= 0 or labels[d] != CELL or labels != small[name].labels:
            raise OtherwiseError
        return Growth(cell_places(labels)[d], by, d)

    def dimension(self, name: str) -> int:
        """The dimension along which a tensor of the net gets longer."""
        small, large = (run.shapes[name] for run in (self._small, self._next))
        return next(d for d, (n, m) in enumerate(zip(small, large, strict=True)) if n != m)

    def length(self, name: str) -> int:
        """How many samples a tensor that gets longer has."""
        growth = self.growth(name)
        assert growth is not None
        return self.net.values[name].cells.shape[growth.place]

    # ---- what its operators read --------------------------------------------------------------------------

    def _at(self, graph: Graph) -> Forward:
        """The net of these turns. Whatever a turn computes from what does not get longer reads as it does in the second
        of two turns."""
        made: dict[str, list[str]] = {}
        for node in self._next.nodes:
            traced = node.name.partition("/")[0]
            made.setdefault(traced, []).append(node.name)
        run = by_cells(graph)
        for node in graph:
            base, _, turn = node.name.partition("~")
            if turn in ("", "1") or not self._even(f"{base}~1", made):
                run.visit(node)
                continue
            for name in made[f"{base}~1"]:
                value = self._next.values[name]
                paths = tuple(replace(path, operand=self._later(path.operand, int(turn))) for path in value.paths)
                copied = replace(self._next_nodes[name], name=self._later(name, int(turn)))
                run.keep(copied, replace(value, paths=paths))
        return run

    def _even(self, name: str, made: Mapping[str, list[str]]) -> bool:
        """Whether a call is the same in every turn, and nothing that it reads or gives gets longer."""
        i = self._in_turn[name.partition("~")[0]][1]
        return not numbers(self._loop.step[i]) and all(
            self.growth(n) is None
            for step in made[name]
            for n in (step, *(p.operand for p in self._next.values[step].paths))
        )

    def _later(self, name: str, turn: int) -> str:
        """A node of the second of two turns, or of the first, so many turns later."""
        traced, slash, step = name.partition("/")
        base, _, t = traced.partition("~")
        if base not in self._in_turn or (not t and base not in self._last):
            return name
        return f"{base}~{turn if t else turn - 1}{slash}{step}"

    def _without_samples(self) -> set[str]:
        """The nodes that no sample along the axis leads to."""
        found: set[str] = set()
        for node in self.net.nodes:
            along = node.op == "input" and self.growth(node.name) is not None
            if not along and all(operand in found for operand in node.operands):
                found.add(node.name)
        return found

    # ---- what outputs need --------------------------------------------------------------------------------

    def needed(self, output: str) -> dict[str, Field[int]]:
        """For each tensor, which samples of an output need each of its cells."""
        growth = self.growth(output)
        if growth is None:
            raise OtherwiseError
        return needed(self.net, output, growth.place)


def _sizes(value: TensorReads) -> tuple[int, ...]:
    return value.layout.sizes
