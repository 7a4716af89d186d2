"""A net that runs the same operators once for every few samples of an axis, in a loop of Python. Its graph at two
sizes, one turn of the loop apart, tells what it is at any number of turns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ..algebra.index_map import IndexMap
from ..algebra.spans import Spans
from ..ops import find
from ..ops.facts import kind_of
from ..ops.graph import Graph, Node
from ..ops.kind import Kind
from .lines import Line, NoPatternError, Places, line, moves, numbers, steps_alike, value

MOST_STARTS = 64
"""How many places are tried at which the turn that the longer graph has more may begin."""

MOST_GAPS, WIDTHS = 4, (1, 3, 9)
"""How many distances between so many operators that look alike are tried as the length of a turn."""


@dataclass(frozen=True)
class Unrolled:
    """The graphs of a net with k turns more than it has at its own size.

    turn: how many nodes a turn has. stop: the position at which the last turn of the net ends, after which more of them
    may follow. early: how a node before `stop` changes with k; those of the last turn do not. step: how one of the last
    turn changes from turn to turn. late: how one behind the loop changes with k.
    """

    graph: Graph
    turn: int
    stop: int
    early: tuple[Any, ...] = field(repr=False)
    step: tuple[Any, ...] = field(repr=False)
    late: tuple[Any, ...] = field(repr=False)

    def at(self, k: int) -> Graph:
        """The graph with k turns more, or fewer. Raises IndexError where the loop has not so many."""
        order, m = self.graph.order, self.turn
        names = list(order[: self.stop + min(k, 0) * m])
        last = order[self.stop - m : self.stop]
        names += [f"{name}~{t}" for t in range(1, k + 1) for name in last]
        names += order[self.stop :]
        nodes = [self._node(order[i], self.early[i], k, names) for i in range(self.stop + min(k, 0) * m)]
        for t in range(1, k + 1):
            for i, name in enumerate(last):
                nodes.append(self._node(name, self.step[i], t, names, f"{name}~{t}"))
        nodes += [self._node(name, late, k, names) for name, late in zip(order[self.stop :], self.late, strict=True)]
        return Graph.of(nodes, list(self.graph.outputs))

    @cached_property
    def rest(self) -> Mapping[str, int]:
        """The nodes behind the last turn that begin another one, of which the net drops what no output needs: which of
        the nodes of a turn each of them is."""
        graph, m = self.graph, self.turn
        last = graph.order[self.stop - m : self.stop]
        own = {name: i for i, name in enumerate(graph.order[: self.stop])}
        ahead, found, at = dict(own), dict[str, int](), 0
        for name in graph.order[self.stop :]:
            for i in range(at, m):
                try:
                    moved = _line(graph[last[i]], graph[name], m, (own, ahead))
                except (NoPatternError, KeyError):
                    continue
                if steps_alike(moved, self.step[i]):
                    found[name], ahead[name], at = i, self.stop + i, i + 1
                    break
        return found

    def agrees(self, k: int, graph: Graph) -> bool:
        """Whether this is the graph with k turns more, whatever its nodes are called."""
        try:
            mine = self.at(k)
        except IndexError:
            return False
        places = _positions(mine), _positions(graph)
        if len(mine.order) != len(graph.order) or [(s, places[0][n]) for s, n in mine.outputs] != [
            (s, places[1][n]) for s, n in graph.outputs
        ]:
            return False
        try:
            lines = [_line(a, b, 0, places) for a, b in zip(mine, graph, strict=True)]
        except NoPatternError:
            return False
        return not any(map(moves, lines))

    def home(self, name: str, k: int, like: Graph) -> list[str]:
        """The nodes of a graph with k turns more that do what a node of another number of turns does: all turns alike
        with it, if it stands in one."""
        base, order, end = name.partition("~")[0], self.graph.order, self.stop + k * self.turn
        at = order.index(base)
        if at >= self.stop:
            at += k * self.turn
            return [like.order[at]] if 0 <= at < len(like.order) else []
        alike = range(at, end, self.turn) if at >= self.stop - self.turn else [at]
        return [like.order[i] for i in alike if i < end]

    def _node(self, name: str, line: Any, k: int, names: list[str], called: str = "") -> Node:
        shape, args = line
        node = self.graph[name]
        found = dict(zip(node.args, value(args, k, names), strict=True))
        return replace(node, name=called or name, shape=value(shape, k, names), args=found)

    @cached_property
    def turns(self) -> int:
        """How many turns of the net at its own size are the same, moved on."""
        graph, m = self.graph, self.turn
        place = {name: i for i, name in enumerate(graph.order)}
        for count in range(1, self.stop // m):
            first = self.stop - count * m
            for i in range(m):
                a, b = (graph[graph.order[at + i]] for at in (first - m, first))
                try:
                    if not steps_alike(_line(a, b, m, (place, place)), self.step[i]):
                        return count
                except NoPatternError:
                    return count
        return self.stop // m


@dataclass(frozen=True)
class OutputLaw:
    """What an output reads along the axis of a loop. dim: the dimension that holds it. out_step: how many samples of it
    a turn gives.

    reads: by input. before, after: how many samples of the output around a block a tile must hold as well. first, last:
    by input, what samples near the start read of those near the start, and near the end of those near the end, each
    counted from there (from the end: 0 is the last output, and -1 the last sample), where that is not what `reads` says
    of samples inside the image. exact: whether all of that is really read.
    """

    dim: int
    out_step: int
    reads: Mapping[str, IndexMap]
    before: int
    after: int
    first: Mapping[str, Mapping[int, Spans]] = field(default_factory=dict)
    last: Mapping[str, Mapping[int, Spans]] = field(default_factory=dict)
    exact: bool = True

    def ends(self, input: str, outputs: int, size: int) -> dict[int, Spans]:
        """What so many outputs read near the ends of an input of this size, where that is not what `reads` says."""
        found = {o: spans.clip(0, size) for o, spans in self.first.get(input, {}).items() if o < outputs}
        for back, spans in self.last.get(input, {}).items():
            o, read = outputs - 1 - back, spans.shift(size).clip(0, size)
            if o >= 0:
                found[o] = found[o] | read if o in found else read
        return found


@dataclass(frozen=True)
class Loop:
    """A loop over the samples of an axis. unrolled: its graphs; None for another net that is the same as a whole some
    steps further, which then count as turns (see step_law.py). start: the lengths of the inputs with as many turns as
    `unrolled.graph` has, by input; step: how many samples more a turn takes. laws: by output, in the order of the net's
    outputs."""

    axis: str
    unrolled: Unrolled | None
    start: Mapping[str, int]
    step: Mapping[str, int]
    laws: tuple[OutputLaw, ...]

    def turns_at(self, sizes: Mapping[str, int]) -> int | None:
        """How many turns more than `unrolled.graph` the net has with inputs of these lengths; None where that is no
        whole number, or it has fewer."""
        found = {divmod(sizes[name] - n, self.step[name]) for name, n in self.start.items() if self.step[name]}
        if len(found) != 1:
            return None
        ((turns, rest),) = found
        return None if rest or turns < 0 else turns


def unrolled(graph: Graph, more: Graph) -> Unrolled | None:
    """The net that a graph is at one size and, one turn of its loop more, another graph at another; None where it
    repeats nothing in this way."""
    turn = len(more.order) - len(graph.order)
    places = _positions(graph), _positions(more)
    if turn <= 0 or [shown for shown, _ in graph.outputs] != [shown for shown, _ in more.outputs]:
        return None
    early: list[Any] = []
    try:
        for a, b in zip(graph, more, strict=False):
            early.append(_line(a, b, 0, places))
    except NoPatternError:
        pass
    for stop in range(len(early), max(turn, len(early) - turn - MOST_STARTS), -1):
        if any(map(numbers, early[stop - turn : stop])):
            continue  # what a turn does depends on the size of the whole
        found = _ending(graph, more, early[:stop], turn, places)
        if found is not None:
            return found
    return None


def _positions(graph: Graph) -> dict[str, int]:
    return {name: i for i, name in enumerate(graph.order)}


def _ending(graph: Graph, more: Graph, early: list[Any], turn: int, places: Places) -> Unrolled | None:
    stop = len(early)
    longer = places[1], places[1]
    body = more.order[stop - turn : stop], more.order[stop : stop + turn]
    try:
        late = [_line(graph[a], more[b], turn, places)
                for a, b in zip(graph.order[stop:], more.order[stop + turn :], strict=True)]  # fmt: skip
        step = [_line(more[a], more[b], turn, longer) for a, b in zip(*body, strict=True)]
    except NoPatternError:
        return None
    for (_, a), (_, b) in zip(graph.outputs, more.outputs, strict=True):
        at = places[0][a]
        if at < stop or places[1][b] != at + turn:
            return None
    return Unrolled(graph, turn, stop, tuple(early), tuple(step), tuple(late))


def _line(a: Node, b: Node, turn: int, places: Places) -> Any:
    """How a node becomes another one: lines for its shape and arguments. Raises NoPatternError."""
    same = (a.op, a.result, a.layer, a.pointwise, a.layout, a.truth, tuple(a.args))
    if same != (b.op, b.result, b.layer, b.pointwise, b.layout, b.truth, tuple(b.args)):
        raise NoPatternError
    rule, lines = find(a.op), []
    for name, own in a.args.items():
        found = line(own, b.args[name], turn, places)
        if numbers(found) and (rule is None or name not in rule.sizes) and kind_of(a) is not Kind.PICK:
            raise NoPatternError  # no law accounts for it: it is another operator from turn to turn
        lines.append(found)
    shape = line(a.shape, b.shape, turn, places)
    if any(isinstance(n, Line) and n.by < 0 for n in shape):
        raise NoPatternError  # at some number of turns nothing would be left
    return shape, tuple(lines)


def turns_in(graph: Graph) -> tuple[int, int]:
    """How many nodes a turn of a loop has, as the order of a graph's operators suggests, and how many turns look alike;
    (0, 0) for no loop."""
    keys = [(node.op, node.result, node.layer) for node in graph]
    gaps: set[int] = set()
    for width in WIDTHS:
        seen: dict[Any, int] = {}
        found: Counter[int] = Counter()
        for i in range(len(keys) - width + 1):
            key = tuple(keys[i : i + width])
            if key in seen:
                found[i - seen[key]] += 1
            seen[key] = i
        gaps.update(gap for gap, _ in found.most_common(MOST_GAPS))
    best = (0, 0)
    for gap in sorted(gaps):
        run = longest = 0
        for i in range(gap, len(keys)):
            run = run + 1 if keys[i] == keys[i - gap] else 0
            longest = max(longest, run)
        if longest >= gap and longest > best[1]:
            best = gap, longest
    gap, longest = best
    return (gap, longest // gap + 1) if gap else best
