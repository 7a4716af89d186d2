"""Whether a net computes some outputs as it computes others, perhaps at another size: tensor by tensor; each call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from math import prod
from operator import or_

from ..algebra.cells import Field
from ..ops import plain_name
from ..ops.graph import STEPS, Constant, Graph, Node
from ..ops.place import DIFFERS, constants_at, place_of, varies
from .at_size import AtSize, Growth, UnlikeError, rows_of
from .compare import scalars
from .values import Path
from .views import LAID_TOGETHER

OF_CONSTANTS = (DIFFERS, LAID_TOGETHER)
"""What stands in the way of constants alone, whose values are compared."""
Move = Callable[[int, int], int]
"""(a node's position, an index along its growing dimension) -> the index that corresponds to it elsewhere."""


class Alike:
    """Whether what some outputs need at one size is what other outputs need at another one, computed in the same way.

    growth: how each tensor grows, by its position among the nodes.
    """

    def __init__(self, small: AtSize, large: AtSize, growth: Sequence[Growth], free: frozenset[int]) -> None:
        self._small, self._large, self._growth, self._free = small, large, growth, free

    def check(self, output: str, outputs: int, moved: int, move: Move) -> None:
        """outputs: bits for those at the first size, which are compared with the ones so many samples further.

        Raises UnlikeError.
        """
        small, large = self._small, self._large
        k = small.place[output]
        growth = self._growth[k]
        assert growth is not None
        one, other = small.needs(output, growth), large.needs(large.nodes[k].name, growth)
        for i, (a, b) in enumerate(zip(small.nodes, large.nodes, strict=True)):
            pair = one.get(a.name), other.get(b.name)
            if pair == (None, None):
                continue
            if i in self._free:
                self._same_constants(i, [], move)
                continue
            mine, theirs = (
                found if found is not None else Field.one(at.shape(i), 0)
                for found, at in zip(pair, (small, large), strict=True)
            )
            if self._growth[i] is None:
                if _any(mine.values) & outputs or _any(theirs.values) & (outputs << moved):
                    raise UnlikeError
                continue
            met = self._rows(i, mine, theirs, outputs, moved, move)
            if met:
                self.same_call(i, met, move)

    def _rows(self, k: int, mine: Field[int], theirs: Field[int], outputs: int, moved: int, move: Move) -> list[int]:
        """The indices at which these outputs need something."""
        place = self._place(k)
        both = tuple(map(max, mine.stored, theirs.stored))
        rows, other = list(rows_of(mine, place, both)), list(rows_of(theirs, place, both))
        used, met = set[int](), list[int]()
        there = outputs << moved
        for i, row in enumerate(rows):
            here = tuple((v & outputs) << moved for v in row)
            if not any(here):
                continue
            j = move(k, i)
            if not 0 <= j < len(other) or here != tuple(v & there for v in other[j]):
                raise UnlikeError
            used.add(j)
            met.append(i)
        if any(_any(row) & there for j, row in enumerate(other) if j not in used):
            raise UnlikeError
        return met

    def _place(self, k: int) -> int:
        growth = self._growth[k]
        assert growth is not None
        return growth[0]

    # ---- calls --------------------------------------------------------------------------------------------

    def same_call(self, k: int, met: list[int], move: Move) -> None:
        """Whether a call computes these indices in the same way at both sizes."""
        a, b = self._small.nodes[k], self._large.nodes[k]
        if a.op == "input":
            return
        paths = [at.values[node.name].paths for at, node in ((self._small, a), (self._large, b))]
        if len(paths[0]) != len(paths[1]) or not self._lawful(k, a):
            raise UnlikeError(a.name, len(paths[0]), len(paths[1]))
        for p, q in zip(*paths, strict=True):
            if self._small.place[p.operand] != self._large.place[q.operand]:
                raise UnlikeError
            self._same_path(k, p, q, met, move)
        self._same_constants(k, met, move)

    def _same_constants(self, k: int, met: list[int], move: Move) -> None:
        a, b = self._small.nodes[k], self._large.nodes[k]
        others = dict(constants_at(b.args))
        for at, constant in constants_at(a.args):
            if at[0] not in self._small.values[a.name].law.unread:
                self._same_constant(k, at, constant, others.get(at), met, move)

    def _lawful(self, k: int, node: Node) -> bool:
        """Whether nothing but the places of samples stands in the way of a law."""
        law = self._small.values[node.name].law
        own = self._small.part(k, self._place(k))
        if any(d == own and why not in OF_CONSTANTS for d, why in law.obstructions):
            return False
        if law.by_size is not None and node.op not in STEPS:
            return False
        for link in law.links:
            operand = self._small.place[node.operands[link.operand]]
            growth = self._growth[operand]
            source = None if growth is None else self._small.part(operand, growth[0])
            for dim in link.dims:
                if dim.source is not None and dim.source == source and dim.obstruction is not None and not dim.picks:
                    return False
        return True

    def _same_path(self, k: int, p: Path, q: Path, met: list[int], move: Move) -> None:
        t, operand = self._place(k), self._small.place[p.operand]
        growth = self._growth[operand]
        if p.cells.flat or q.cells.flat:
            if not (p.cells.flat and q.cells.flat) or growth is None:
                raise UnlikeError
            s, shapes = growth[0], (p.cells.shape_in, p.cells.shape_out)
            inner, outer = prod(shapes[0][s + 1 :]), prod(shapes[1][t + 1 :])
            if prod(shapes[0][:s]) != prod(shapes[1][:t]):
                raise UnlikeError
            for i in met:
                by = (move(k, i) - i) * outer
                for j in range(i * outer // inner, ((i + 1) * outer - 1) // inner + 1):
                    if (move(operand, j) - j) * inner != by:
                        raise UnlikeError
            return
        sides = [[(s, t) for s, t, _ in path.cells.pairs] for path in (p, q)]
        if sides[0] != sides[1]:
            raise UnlikeError
        for (source, e, m), (_, _, n) in zip(p.cells.pairs, q.cells.pairs, strict=True):
            grows = growth is not None and source == growth[0]
            if e != t and not grows:
                if m != n:
                    raise UnlikeError
                continue
            if e != t or (grows != (growth is not None)):
                raise UnlikeError  # summed over, or laid across
            for i in met:
                there = list(n.table[move(k, i)])
                if [move(operand, j) if grows else j for j in m.table[i]] != there:
                    raise UnlikeError

    def _same_constant(
        self, k: int, at: tuple[str, int | None], a: Constant, b: Constant | None, met: list[int], move: Move
    ) -> None:
        if b is None or len(a.shape) != len(b.shape) or a.random or b.random or a.taps != b.taps:
            raise UnlikeError
        value = self._small.values[self._small.nodes[k].name]
        law, layout = value.law, value.layout
        other = self._large.values[self._large.nodes[k].name].layout
        place, growth = place_of(law, at), self._growth[k]
        own = -1 if growth is None else self._small.part(k, growth[0])
        along = [s for s, d in place.targets if own in layout.places(d) and a.shape[s] > 1] if place else []
        longer = [s for s, (n, m) in enumerate(zip(a.shape, b.shape, strict=True)) if n != m]
        if len(along) > 1 or any(s not in along for s in longer):
            raise UnlikeError
        if not along or (not varies(a, along[0]) and not varies(b, along[0])):
            if a.digest != b.digest:
                raise UnlikeError
            return
        (s,) = along
        d = dict(place.targets)[s] if place else 0
        sizes = [[w.sizes[i] for i in w.places(d)] for w in (layout, other)]
        mine = own - layout.places(d)[0]
        if not all(s < len(c.rows) and c.rows[s] for c in (a, b)):
            self._between_borders((a, b), s, prod(sizes[0][mine + 1 :]), [(i, move(k, i)) for i in met])
            return
        labels = [_labels(c, s, n, mine) for c, n in zip((a, b), sizes, strict=True)]
        if any(labels[0][i] != labels[1][move(k, i)] for i in met):
            raise UnlikeError

    def _between_borders(
        self, both: tuple[Constant, Constant], s: int, inner: int, pairs: list[tuple[int, int]]
    ) -> None:
        """The same for constants that are too large to be compared index by index: they are one, longer or shorter
        between borders (see Constant.borders), and these indices are as far from its start, or from its end."""
        a, b = both
        borders = a.borders[s] if s < len(a.borders) else None
        if borders is None or (a.variation, a.borders, a.digest) != (b.variation, b.borders, b.digest):
            raise UnlikeError
        before, after, period = borders
        ends = [c.shape[s] - after for c in both]
        for i, j in pairs:
            spans = [(n * inner, (n + 1) * inner) for n in (i, j)]
            from_start = i == j and all(stop <= end for (_, stop), end in zip(spans, ends, strict=True))
            back = [c.shape[s] - start for c, (start, _) in zip(both, spans, strict=True)]
            from_end = back[0] == back[1] and all(start >= before for start, _ in spans)
            within = all(before <= start and stop <= end for (start, stop), end in zip(spans, ends, strict=True))
            if not (from_start or from_end or (within and (j - i) * inner % period == 0)):
                raise UnlikeError


def _labels(constant: Constant, s: int, sizes: list[int], own: int) -> list[tuple[int, ...]]:
    """What tells the values of a constant at each index of one of the parts that its dimension s lies along."""
    rows = constant.rows[s] if s < len(constant.rows) else ()
    if constant.shape[s] != prod(sizes) or len(rows) != constant.shape[s]:
        raise UnlikeError
    n, inner = sizes[own], prod(sizes[own + 1 :])
    outer = prod(sizes[:own])
    return [tuple(rows[(o * n + i) * inner + r] for o in range(outer) for r in range(inner)) for i in range(n)]


def _any(masks: Sequence[int]) -> int:
    return reduce(or_, masks, 0)


def same_calls(here: Graph, there: Graph) -> None:
    """Whether two graphs are of one net, as far as sizes do not count. Raises UnlikeError."""
    places = [{name: i for i, name in enumerate(graph.order)} for graph in (here, there)]
    if len(here.order) != len(there.order):
        raise UnlikeError
    for a, b in zip(here, there, strict=True):
        if (plain_name(a), a.result, a.layer) != (plain_name(b), b.result, b.layer):
            raise UnlikeError
        others = dict(constants_at(b.args))
        fixed = [(c, others.get(at)) for at, c in constants_at(a.args)]
        if any(scalars(a, b, *places)) or any(
            other is None or (c.shape == other.shape and c.digest != other.digest) for c, other in fixed
        ):
            raise UnlikeError
