"""What the outputs of a net read that takes the samples of an axis a few at a time, in a loop (see unrolled.py).

Within a turn of the loop the axis has a few samples, which are followed one by one, as channels are. Outputs some turns
later need the same of every tensor, some turns later, wherever what they need lies within turns that are alike. That is
looked for in the graph of many turns. Since any more turns are like those, it holds at any number of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from math import prod
from operator import or_

from ..algebra.cells import Field
from ..algebra.index_map import IndexMap
from ..algebra.spans import Spans
from ..ops.facts import kind_of
from ..ops.kind import Kind
from ..ops.law import CellReads
from .growth import OtherwiseError
from .turns import Turns
from .unrolled import OutputLaw, Unrolled
from .values import TensorReads

FIRST_TURNS, SPARE_TURNS = 8, 8
"""How many turns more are looked at first; how many more than outputs need, once that shows."""
MOST_TURNS, MOST_NODES = 130, 50_000
"""No graph with more turns or more nodes is looked at."""


def loop_laws(loop: Unrolled, axis: str) -> Mapping[str, OutputLaw] | None:
    """The law of each output along the axis of a loop; None where some output has none."""
    more = FIRST_TURNS
    try:
        while more <= MOST_TURNS and len(loop.graph.order) + more * loop.turn <= MOST_NODES:
            turns = Turns(loop, axis, more)
            found = {node: _law(turns, node) for _, node in loop.graph.outputs}
            laws = {node: law for node, law in found.items() if isinstance(law, OutputLaw)}
            if len(laws) == len(found):
                return laws
            reach = max(law for law in found.values() if isinstance(law, int))
            more = max(reach + SPARE_TURNS, more + SPARE_TURNS) if reach else 4 * more
    except OtherwiseError:
        return None
    return None


def _law(turns: Turns, output: str) -> OutputLaw | int:
    """The law of an output, or, if these turns are not enough to see it, how many its last step needs; 0 where these
    are not enough for that either."""
    growth = turns.growth(output)
    if growth is None:
        raise OtherwiseError
    out_step, length = growth.by, turns.length(output)
    needed = turns.needed(output)
    found = _Needs(turns, needed, length, out_step)
    steps = length // out_step
    alike = [not found.astray >> u * out_step & found.step for u in range(steps)]
    moved = [
        u > 0 and alike[u - 1] and alike[u] and not found.unlike >> u * out_step & found.step for u in range(steps)
    ]
    at = next((u for u in range(steps - 1, 1, -1) if moved[u] and moved[u - 1]), None)
    reach = steps - 1 - found.first(steps - 1)
    enough = reach if found.first(steps - 1) and reach + SPARE_TURNS > turns.count else 0
    if at is None:
        return enough
    first = next(u for u in range(at, -1, -1) if not moved[u])
    last = next((u for u in range(at, steps) if not moved[u]), steps) - 1
    whole = -(-length // out_step)
    back = max(first, *(u - found.first(u) for u in range(first, whole)))
    spares = {u: found.spare(u) for u in range(last + 1)}
    spare = min(last + 1 - at, *(n - (at - u) for u, n in spares.items() if n < turns.count))
    if spare < 0 or back > at:
        return enough
    laws = {name: found.law(name, at) for name in turns.net.graph.inputs if turns.growth(name) is not None}
    if any(found.first(u) == 0 for u in range(last + 1, whole)):
        return enough  # what it reads near the end is not apart from what lies near the start
    ends = {name: found.ends(name, law, last) for name, law in laws.items()}
    after = max(0, length - (at + 1) * out_step - (spare + 1) * out_step + 1)
    heads, tails = ({name: end[k] for name, end in ends.items()} for k in (0, 1))
    exact = all(_exact(turns.net.values[name]) for name in needed)
    return OutputLaw(turns.dimension(output), out_step, laws, back * out_step, after, heads, tails, exact)


def _exact(value: TensorReads) -> bool:
    """Whether a tensor reads all that its paths say, sample by sample."""
    collapsed = any(link.cells is CellReads.COLLAPSE for link in value.law.links)
    return not collapsed and all(path.exact for path in value.paths)


class _Needs:
    """What each step of an output needs, seen through the masks of all tensors.

    astray: the samples that need something outside the turns that are alike. unlike: those that do not need what the
    samples of the step before need, a turn later.
    """

    def __init__(self, turns: Turns, needed: Mapping[str, Field[int]], length: int, out_step: int) -> None:
        self._turns, self._needed = turns, needed
        self._length, self._out_step, self.step = length, out_step, (1 << out_step) - 1
        self._every = (1 << length) - 1
        self.astray = self.unlike = 0
        self._by_turn = [0] * turns.count
        self._along: dict[str, list[int]] = {}
        by_key: dict[str, dict[int, Field[int]]] = {}
        for name, field in needed.items():
            self._note(name, field, by_key)
        for found in by_key.values():
            for turn in range(turns.count + 1):
                self._compare(found.get(turn), found.get(turn - 1))

    def _note(self, name: str, field: Field[int], by_key: dict[str, dict[int, Field[int]]]) -> None:
        turns = self._turns
        turn, growth = turns.turn_of(name), turns.growth(name)
        if turn is not None and growth is None:
            by_key.setdefault(turn[1], {})[turn[0]] = field
            self._by_turn[turn[0]] |= _any(field.values)
        elif turn is not None:
            if kind_of(turns.net.graph[name]) is not Kind.CONCATENATION:
                raise OtherwiseError  # what was put together before is used once more
        elif growth is not None:
            self._note_long(name, field, growth.place, growth.by)
        elif name not in turns.unread:
            self.astray |= _any(field.values)
        else:
            self._compare(field, field)  # every step reads the same of what no sample leads to

    def _note_long(self, name: str, field: Field[int], place: int, by: int) -> None:
        """A tensor that holds all samples: it is compared with itself, moved by a step."""
        stored = tuple(n if d == place else m for d, (n, m) in enumerate(zip(field.shape, field.stored, strict=True)))
        values, outer, inner = field.spread(stored), prod(stored[:place]), prod(stored[place + 1 :])
        size = stored[place]
        rows = [[values[(o * size + i) * inner + k] for o in range(outer) for k in range(inner)] for i in range(size)]
        self._along[name] = [_any(row) for row in rows]
        none = [[0] * (outer * inner)] * by
        for row, earlier in zip(rows + none, none + rows, strict=True):
            for a, b in zip(row, earlier, strict=True):
                self.unlike |= a ^ (b << self._out_step & self._every)

    def _compare(self, later: Field[int] | None, one: Field[int] | None) -> None:
        if later is None and one is None:
            return
        shape = later.shape if later is not None else one.shape if one is not None else ()
        if later is None or one is None:
            later, one = later or Field.one(shape, 0), one or Field.one(shape, 0)
        moved = one.map(lambda mask: mask << self._out_step & self._every)
        self.unlike |= _any(later.merge(moved, lambda a, b: a ^ b).values)

    # ---- steps --------------------------------------------------------------------------------------------

    def _of(self, u: int) -> int:
        return self.step << u * self._out_step & self._every

    def first(self, u: int) -> int:
        """The last step that a tile may begin with if it is to hold what a step needs."""
        mask = self._of(u)
        firsts = [next((j for j, m in enumerate(self._by_turn) if m & mask), u)]
        for name, masks in self._along.items():
            growth = self._turns.growth(name)
            assert growth is not None
            firsts += [i // growth.by for i, m in enumerate(masks) if m & mask][:1]
        return min(firsts)

    def spare(self, u: int) -> int:
        """How many steps a tile may leave out at its end."""
        mask, turns = self._of(u), self._by_turn
        found = [len(turns) - 1 - max((j for j, m in enumerate(turns) if m & mask), default=-1)]
        for name, masks in self._along.items():
            growth = self._turns.growth(name)
            assert growth is not None
            last = max((i for i, m in enumerate(masks) if m & mask), default=-1)
            found.append((len(masks) - 1 - last) // growth.by)
        return min(found)

    def _read(self, input: str) -> list[Spans]:
        """What each sample of the output reads of an input."""
        masks = self._along.get(input, [])
        return [Spans.points([i for i, m in enumerate(masks) if m >> o & 1]) for o in range(self._length)]

    def _step_of(self, input: str) -> int:
        growth = self._turns.growth(input)
        assert growth is not None
        return growth.by

    def law(self, input: str, at: int) -> IndexMap:
        """What samples read of an input as those of a step do."""
        read, step = self._read(input), self._step_of(input)
        phases = tuple(read[at * self._out_step + p].shift(-at * step) for p in range(self._out_step))
        return IndexMap(self._out_step, step, phases)

    def ends(self, input: str, law: IndexMap, last: int) -> tuple[dict[int, Spans], dict[int, Spans]]:
        """What samples near the ends read where that is not what the law says. last: the last step of those that need
        nothing near the end of any tensor."""
        size = self._turns.length(input)
        first, behind = {}, {}
        for o, mine in enumerate(self._read(input)):
            if mine == law[o].clip(0, size):
                continue
            if o < (last + 1) * self._out_step:
                first[o] = mine
            else:
                behind[self._length - 1 - o] = mine.shift(-size)
        return first, behind


def _any(masks: Sequence[int]) -> int:
    return reduce(or_, masks, 0)
