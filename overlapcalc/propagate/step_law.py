"""The law of a net along an axis that has none operator by operator, but is the same some steps further as a whole: of
windows that are moved round the end, and cut there by a mask, for example.

At one size it is followed sample by sample which outputs need which samples of each tensor. Three things must then be
the same: what outputs inside the image need, a step further; what those towards the start of a larger image need,
counted from there; and those towards its end. What an output near the start needs may lie at the other end of a tensor
that was moved: there samples are counted from the end. With what is needed, all calls and constants on the way are
compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from operator import or_

from ..algebra.index_map import IndexMap
from ..algebra.spans import Spans
from ..ops.graph import Graph
from .alike import Alike, Move
from .at_size import AtSize, UnlikeError, axis_dim, grown, rows_of, without_axis
from .unrolled import OutputLaw

LEAST_ALIKE = 3
"""So many steps inside the image must be alike."""


class TooShortError(UnlikeError):
    """A net at too short a size to see what is alike inside the image."""


@dataclass(frozen=True)
class Inside:
    """The steps of an output that are alike: from `first` to `last`. out_step: its samples per step; length: all of
    them."""

    first: int
    last: int
    out_step: int
    length: int

    @property
    def middle(self) -> int:
        return (self.first + self.last) // 2

    def bits(self, start: int, stop: int | None = None) -> int:
        """Bits for the samples of the steps from `start` to before `stop`, or to the end."""
        end = self.length if stop is None else min(self.length, stop * self.out_step)
        return (1 << end) - (1 << start * self.out_step)


class StepLaw:
    """A net at a size, and one step larger. Raises UnlikeError where they are not the same net, or no law is seen."""

    def __init__(self, here: Graph, there: Graph, axis: str) -> None:
        self._axis, self.here = axis, AtSize(here, axis)
        there_too = AtSize(there, axis)
        self.growth = grown(self.here, there_too)
        self._free = without_axis(self.here, self.growth)
        self.inside = {node: self._inside(node) for _, node in here.outputs}
        alike = Alike(self.here, self.here, self.growth, self._free)
        for node, found in self.inside.items():
            alike.check(node, found.bits(found.first, found.last), found.out_step, self._further)
        self._hold(there_too, 1)

    def _further(self, k: int, i: int) -> int:
        growth = self.growth[k]
        return i + (growth[1] if growth is not None else 0)

    def _inside(self, output: str) -> Inside:
        """The steps whose needs are those of the step before, a step further."""
        k = self.here.place[output]
        growth = self.growth[k]
        if growth is None:
            raise UnlikeError
        length, out_step, unlike = self.here.shape(k)[growth[0]], growth[1], 0
        every = (1 << length) - 1
        for name, field in self.here.needs(output, growth).items():
            grows = self.growth[self.here.place[name]]
            if grows is None:
                continue
            rows = list(rows_of(field, grows[0], field.stored))
            none = [(0,) * len(rows[0])] * grows[1]
            for row, earlier in zip(rows + none, none + rows, strict=True):
                for a, b in zip(row, earlier, strict=True):
                    unlike |= a ^ (b << out_step & every)
        steps, step = length // out_step, (1 << out_step) - 1
        alike = [u > 0 and not unlike >> u * out_step & step for u in range(steps)]
        middle = steps // 2
        first = next((u for u in range(middle, -1, -1) if not alike[u]), 0)
        last = next((u for u in range(middle, steps) if not alike[u]), steps) - 1
        if last - first + 1 < LEAST_ALIKE:
            raise TooShortError
        return Inside(first, last, out_step, length)

    def hold(self, graph: Graph, steps: int) -> None:
        """Compare with the net so many steps larger, or fewer. Raises UnlikeError."""
        self._hold(AtSize(graph, self._axis), steps)

    def _hold(self, other: AtSize, steps: int) -> None:
        small, large = (self.here, other) if steps > 0 else (other, self.here)
        if grown(small, large, abs(steps)) != self.growth:
            raise UnlikeError
        alike = Alike(small, large, self.growth, self._free)
        for (_, node), (_, output) in zip(self.here.graph.outputs, small.graph.outputs, strict=True):
            found = self.inside[node]
            if steps < 0:
                found = Inside(found.first, found.last + steps, found.out_step, found.length + steps * found.out_step)
            if found.last < found.first:
                raise UnlikeError
            more, early, late = abs(steps), found.bits(0, found.middle + 1), found.bits(found.middle)
            later = late << (more * found.out_step if steps < 0 else 0)
            alike.check(output, early, 0, self._from_start(self._heads(node, early), more))
            alike.check(output, late, more * found.out_step, self._from_end(self._tails(node, later), more, small))

    def hold_calls(self, graph: Graph, steps: int) -> None:
        """Compare with the net so many steps larger, call by call, without following there what outputs need. Raises
        UnlikeError."""
        large = AtSize(graph, self._axis)
        if grown(self.here, large, steps) != self.growth:
            raise UnlikeError
        ends = Alike(self.here, large, self.growth, self._free)
        inside = Alike(large, large, self.growth, self._free)
        for node, found in self.inside.items():
            early, late = found.bits(0, found.middle + 1), found.bits(found.middle)
            for outputs, move in (
                (early, self._from_start(self._heads(node, early), steps)),
                (late, self._from_end(self._tails(node, late), steps, self.here)),
            ):
                for k, met, _ in self._met(node, outputs):
                    ends.same_call(k, met, move)
            for k, met, _ in self._met(node, found.bits(found.first, found.last + 1)):
                between = range(min(met, default=0), max(met, default=0) + (steps - 1) * self._by(k) + 1)
                inside.same_call(k, list(between), self._further)

    def _met(self, output: str, outputs: int) -> Iterator[tuple[int, list[int], int]]:
        """By tensor, the samples that these outputs need, and how many there are."""
        growth = self.growth[self.here.place[output]]
        assert growth is not None
        for name, field in self.here.needs(output, growth).items():
            k = self.here.place[name]
            grows = self.growth[k]
            if grows is not None:
                rows = list(rows_of(field, grows[0], field.stored))
                yield k, [i for i, row in enumerate(rows) if any(v & outputs for v in row)], len(rows)

    def _heads(self, output: str, outputs: int) -> Mapping[int, int]:
        """By tensor, how many of its first samples these outputs need, counted from the start."""
        return {k: _gap([*met, n])[0] for k, met, n in self._met(output, outputs) if met}

    def _tails(self, output: str, outputs: int) -> Mapping[int, int]:
        """By tensor, how many of its last samples these outputs need, counted from the end."""
        return {k: n - _gap([-1, *met])[1] for k, met, n in self._met(output, outputs) if met}

    def _from_start(self, heads: Mapping[int, int], steps: int) -> Move:
        """What is needed is counted from the start, but for what was moved there from the other end."""
        return lambda k, i: i if i < heads.get(k, 0) else i + steps * self._by(k)

    def _from_end(self, tails: Mapping[int, int], steps: int, small: AtSize) -> Move:
        def move(k: int, i: int) -> int:
            growth = self.growth[k]
            assert growth is not None
            return i + steps * growth[1] if i >= small.shape(k)[growth[0]] - tails.get(k, 0) else i

        return move

    def _by(self, k: int) -> int:
        growth = self.growth[k]
        return 0 if growth is None else growth[1]

    # ---- laws ---------------------------------------------------------------------------------------------

    @property
    def least(self) -> int:
        """How many steps fewer the net may have if a step inside is to be left."""
        return min(found.last - found.first for found in self.inside.values())

    def laws(self) -> tuple[OutputLaw, ...]:
        """The law of each output, in their order. Raises UnlikeError."""
        return tuple(self._law(node) for _, node in self.here.graph.outputs)

    def _law(self, output: str) -> OutputLaw:
        found, k = self.inside[output], self.here.place[output]
        growth = self.growth[k]
        assert growth is not None
        needs, reads = self.here.needs(output, growth), dict[str, IndexMap]()
        heads, tails = dict[str, dict[int, Spans]](), dict[str, dict[int, Spans]]()
        for name in self.here.graph.inputs:
            grows = self.growth[self.here.place[name]]
            if grows is None:
                continue
            masks = [0] * self.here.shape(self.here.place[name])[grows[0]]
            if name in needs:
                rows = rows_of(needs[name], grows[0], needs[name].stored)
                masks = [reduce(or_, row, 0) for row in rows]
            read = [Spans.points([i for i, m in enumerate(masks) if m >> o & 1]) for o in range(found.length)]
            at = found.middle * found.out_step
            phases = tuple(read[at + p].shift(-found.middle * grows[1]) for p in range(found.out_step))
            reads[name] = IndexMap(found.out_step, grows[1], phases)
            heads[name], tails[name] = _ends(read, reads[name], len(masks))
        exact = all(path.exact for name in needs if name not in self._settled for path in self.here.values[name].paths)
        after = found.length - (found.last + 1) * found.out_step
        dim = axis_dim(self.here, k, growth[0])
        return OutputLaw(dim, found.out_step, reads, found.first * found.out_step, after, heads, tails, exact)

    @property
    def _settled(self) -> set[str]:
        return self.here.left.settled


def _gap(met: list[int]) -> tuple[int, int]:
    """Where the longest run of samples that are not needed begins and ends."""
    return max(((a + 1, b) for a, b in pairwise(met)), key=lambda gap: gap[1] - gap[0])


def _ends(read: list[Spans], law: IndexMap, size: int) -> tuple[dict[int, Spans], dict[int, Spans]]:
    """What samples near the ends read where that is not what the law says. Raises UnlikeError where they read the
    other half."""
    first, last, half = dict[int, Spans](), dict[int, Spans](), size // 2
    for o, mine in enumerate(read):
        if mine == law[o].clip(0, size):
            continue
        if 2 * o < len(read) and mine.clip(0, half) == mine:
            first[o] = mine
        elif 2 * o >= len(read) and mine.clip(half, size) == mine:
            last[len(read) - 1 - o] = mine.shift(-size)
        else:
            raise UnlikeError
    return first, last
