"""What the dimensions of a tensor are made of, and how a view rearranges them.

`x.flatten(2)` lays the rows and the columns of an image into one dimension; `x.view(n, c, h // 8, 8, w)` cuts each
column into windows of eight. That mixes nothing, so nothing is lost: a dimension is a row-major product of parts,
each an axis or a run of cells, and a view cuts parts, joins them and regroups them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

CELL, LOST = "", "~"
"""Labels of a part that is not an axis, and of one whose positions are no longer those of an axis."""
MOST_PIECES = 64
"""An axis is followed into windows of at most this many samples, and out of them: each place in a window is a case."""


@dataclass(frozen=True)
class Part:
    """`size` indices: positions along the axis `label`, or cells."""

    size: int
    label: str = CELL

    @property
    def is_axis(self) -> bool:
        return self.label not in (CELL, LOST)


@dataclass(frozen=True)
class Factoring:
    """The parts of a tensor in row-major order; `widths[d]` consecutive ones make up dimension d.

    >>> Factoring.plain((1, 3, 16, 24), ["", "", "H", "W"]).axes_of(2)
    ['H']
    """

    parts: tuple[Part, ...]
    widths: tuple[int, ...]

    @staticmethod
    def plain(shape: Sequence[int], labels: Sequence[str]) -> Factoring:
        """One part per dimension."""
        return Factoring(tuple(map(Part, shape, labels)), (1,) * len(shape))

    @staticmethod
    def grouped(groups: Sequence[Sequence[Part]]) -> Factoring:
        return Factoring(tuple(p for group in groups for p in group), tuple(map(len, groups)))

    @cached_property
    def starts(self) -> tuple[int, ...]:
        return tuple(sum(self.widths[:d]) for d in range(len(self.widths)))

    def places(self, dim: int) -> range:
        """The indices of the parts that make up a dimension."""
        return range(self.starts[dim], self.starts[dim] + self.widths[dim])

    def axes_of(self, dim: int) -> list[str]:
        """The axes in a dimension."""
        return [self.labels[i] for i in self.places(dim) if self.parts[i].is_axis]

    @property
    def simple(self) -> bool:
        return len(self.parts) == len(self.widths)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        return tuple(p.size for p in self.parts)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return tuple(p.label for p in self.parts)

    @cached_property
    def cells(self) -> tuple[int, ...]:
        """The sizes of the parts that are cells."""
        return tuple(p.size for p in self.parts if p.label == CELL)


Placed = tuple[Part, int]
Run = tuple[Sequence[int], Sequence[int]]
"""Old and new dimensions of equal product, in order."""


@dataclass(frozen=True)
class Reshape:
    """A view, taken apart: cut some axes, regroup the cells, join cells to axes, and group parts into dimensions.

    cuts: (part, length of a piece) in order; indices count the parts that earlier cuts added.
    dropped: axes one sample long that the view leaves out; torn: parts that it takes apart in a way that is not
    followed. Both are indices after the cuts.
    between: the parts after the cuts, neighbouring cells merged. kept: for each axis of `between`, which part it was.
    joins: parts of `between` that absorb the cells behind them; indices count after earlier joins.
    after: the result.

    Shapes alone can leave open which view this is: 2 samples seen as (1, 2) may be one piece of two, or two pieces
    of one. Another size shows it.
    """

    cuts: tuple[tuple[int, int], ...]
    dropped: tuple[int, ...]
    torn: tuple[int, ...]
    between: tuple[Part, ...]
    kept: tuple[tuple[int, int], ...]
    joins: tuple[int, ...]
    after: Factoring

    def applied(self, layout: Factoring, shape: Sequence[int]) -> Reshape | None:
        """The same view of a tensor whose axes have other lengths. None where that does not give this shape."""
        parts = list(layout.parts)
        if self.torn:
            return None
        for i, piece in self.cuts:
            if i >= len(parts) or not parts[i].is_axis or parts[i].size % piece:
                return None
            parts[i : i + 1] = [replace(parts[i], size=parts[i].size // piece), Part(piece)]
        between = list(self.between)
        for old, new in self.kept:
            if old >= len(parts) or parts[old].label != between[new].label:
                return None
            between[new] = parts[old]
        after = list(between)
        for i in self.joins:
            after[i : i + 2] = [replace(after[i], size=after[i].size * after[i + 1].size)]
        found = Factoring(tuple(after), self.after.widths)
        made = [prod(found.sizes[i] for i in found.places(d)) for d in range(len(found.widths))]
        cells = [prod(p.size for p in here if p.label == CELL) for here in (parts, between)]
        if made != list(shape) or cells[0] != cells[1] or found.labels != self.after.labels:
            return None
        return replace(self, between=tuple(between), after=found)


Joins = Callable[[str, int], bool]


def view(layout: Factoring, runs: Sequence[Run], shape: Sequence[int], joins: Joins | None = None) -> Reshape:
    """How a view of a tensor into this shape acts on its parts; `runs` cover all dimensions, in order. joins: whether
    an axis is joined with so many cells behind it; always where absent.

    >>> image = Factoring.plain((1, 3, 16, 24), ["", "", "H", "W"])
    >>> windows = view(image, [([0], [0]), ([1], [1]), ([2], [2, 3]), ([3], [4])], (1, 3, 2, 8, 24))
    >>> windows.cuts, windows.after.labels  # H goes on at an eighth of its rate; the 8 places are cells
    (((2, 8),), ('', '', 'H', '', 'W'))
    """
    cuts: list[tuple[int, int]] = []
    dropped: list[int] = []
    torn: list[int] = []
    groups: list[list[Placed]] = []
    at = 0  # the number of parts before this run, after the cuts
    for old, new in runs:
        parts = [layout.parts[i] for d in old for i in layout.places(d)]
        big = [d for d in old if prod(layout.parts[i].size for i in layout.places(d)) > 1]
        sizes = [shape[t] for t in new]
        simple = all(layout.widths[d] == 1 for d in old)
        if simple and len(big) <= 1 and sum(n > 1 for n in sizes) <= 1:
            home = _paired(old, new, big, [t for t in new if shape[t] > 1])
            here: dict[int, list[Placed]] = {}
            beside = next((home[d] for d in old if d in home), None)
            for d in old:  # one sample long and unpaired: kept beside a neighbour, where a later view finds it again
                beside = home.get(d, beside)
                placed = [(layout.parts[i], at + k) for k, i in enumerate(layout.places(d))]
                if beside is None:
                    dropped += [k for _, k in placed]
                else:
                    here.setdefault(beside, []).extend(placed)
                at += layout.widths[d]
            groups += [here.get(t, [(Part(1), -1)]) for t in new]
            continue
        fitted = _fitted(parts, sizes)
        if fitted is None:
            label = CELL if all(p.label == CELL for p in parts) else LOST
            groups += [[(Part(n, label if n > 1 else CELL), -1)] for n in sizes]
            torn += range(at, at + len(parts))
            at += len(parts)
        else:
            groups += [[(part, at + k) for part, k in group] for group in fitted[0]]
            cuts += [(at + k, piece) for k, piece in fitted[1]]
            at += len(parts) + len(fitted[1])
    between: list[Part] = []
    joined_at: list[int] = []
    after: list[list[Part]] = []
    kept: list[tuple[int, int]] = []
    for group in groups:
        parts = _cells_together([part for part, _ in group])
        origins = [k for part, k in group if part.label != CELL]
        kept += zip(origins, (len(between) + i for i, part in enumerate(parts) if part.label != CELL), strict=True)
        between += parts
        joined: list[Part] = []
        for part in parts:
            last = joined[-1] if joined and part.label == CELL and part.size <= MOST_PIECES else None
            if last is not None and last.is_axis and (joins is None or joins(last.label, part.size)):
                joined_at.append(sum(map(len, after)) + len(joined) - 1)
                joined[-1] = replace(joined[-1], size=joined[-1].size * part.size)
            else:
                joined.append(part)
        after.append(joined)
    kept = [(k, i) for k, i in kept if k >= 0]
    return Reshape(
        cuts=tuple(cuts),
        dropped=tuple(dropped),
        torn=tuple(torn),
        between=tuple(between),
        kept=tuple(kept),
        joins=tuple(joined_at),
        after=Factoring.grouped(after),
    )


def _paired(old: Sequence[int], new: Sequence[int], big_old: list[int], big_new: list[int]) -> dict[int, int]:
    """Old dimension -> new, where at most one is longer than one and dimensions of one come and go around it.

    They are paired outward from the long one, to its left and to its right, so that an image one sample high keeps
    its axis.
    """
    pairs = list(zip(big_old, big_new, strict=True))
    if pairs:
        s, t = pairs[0]
        pairs += zip(reversed([o for o in old if o < s]), reversed([n for n in new if n < t]), strict=False)
        pairs += zip([o for o in old if o > s], [n for n in new if n > t], strict=False)
    else:
        pairs = list(zip(old, new, strict=False))
    return dict(pairs)


def _fitted(parts: Sequence[Part], sizes: Sequence[int]) -> tuple[list[list[Placed]], list[tuple[int, int]]] | None:
    """The parts of each dimension with their places after the cuts, and the cuts of axes that this takes. None where
    a piece would end within an index.

    When a part is cut, its outer half goes to the dimension at hand. For an axis, that half remains the axis, one
    index per piece; the places within a piece become cells.
    """
    left = list(parts)
    groups: list[list[Placed]] = []
    cuts: list[tuple[int, int]] = []
    at = 0  # index of left[0] among the parts as cut so far; cells are regrouped later and need no cut
    for size in sizes:
        group: list[Placed] = []
        while prod(p.size for p, _ in group) < size:
            part, rest = left[0], size // prod(p.size for p, _ in group)
            if rest % part.size and part.size % rest:
                return None
            if part.size <= rest:
                group.append((left.pop(0), at))
                at += 1
                continue
            piece = part.size // rest
            if part.label == LOST or (part.is_axis and piece > MOST_PIECES):
                return None
            left[0] = Part(piece)
            group.append((replace(part, size=rest), at))
            if part.is_axis:
                cuts.append((at, piece))
                at += 1
        if size == 1 and left and left[0].size == 1:
            group.append((left.pop(0), at))
            at += 1
        groups.append(group)
    groups[-1] += [(part, at + k) for k, part in enumerate(left)]  # axes one sample long
    return groups, cuts


def _cells_together(group: Sequence[Part]) -> list[Part]:
    """Neighbouring cells merged into one part; cells of size one left out, unless there is nothing else."""
    out: list[Part] = []
    for part in group:
        if part.label == CELL and (part.size == 1 or (out and out[-1].label == CELL)):
            if part.size > 1:
                out[-1] = Part(out[-1].size * part.size)
        else:
            out.append(part)
    return out or [Part(1)]
