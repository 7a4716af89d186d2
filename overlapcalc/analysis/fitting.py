"""The smallest size, no smaller than a given one, at which a net runs. Found by trying."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import islice, product
from math import ceil, lcm

from ..errors import Argument, InputError
from ..ops.graph import Shapes
from ..ops.layout import AXES, default_layout
from .sizes import Runs, accepted, one_size, where_it_runs

MULTIPLES = tuple(sorted({odd << k for k in range(9) for odd in (1, 3, 5, 7) if odd << k <= 512}))
"""Sizes that are multiples of one of these, or one more, are tried to find one that runs."""
USUAL = (8, 12, 14, 16, 24, 28, 32, 48, 56, 64, 96, 112, 128, 192, 224, 256)
MOST_PAIRS = len(USUAL) ** 2
"""The same for different ones along each axis; of these, at most so many are tried."""
MOST = 4096
"""At most so many lengths of an axis are tried one by one."""

Lengths = Mapping[str, int]
"""For each axis, the length of the longest input."""


class Inputs:
    """Inputs that grow together: along each axis, each has a fixed share of the longest one's samples, the simplest
    fraction that gives its length but for rounding. An input of one sample beside longer ones stays as it is.

    >>> Inputs([(1, 3, 1001), (1, 8, 63)], ["", ""]).at({"L": 1008})
    ((1, 3, 1008), (1, 8, 63))
    """

    def __init__(self, shapes: Shapes, layouts: Sequence[str]) -> None:
        self.shapes, self.layouts = shapes, layouts
        letters = [layout or default_layout(len(shape)) for layout, shape in zip(layouts, shapes, strict=True)]
        self._labels = [tuple(c if c in AXES else "" for c in layout) for layout in letters]
        self.longest: dict[str, int] = {}
        for _, _, axis, n in self._every():
            self.longest[axis] = max(n, self.longest.get(axis, 1))
        self._shares = {(i, d): self._share(n, self.longest[axis]) for i, d, axis, n in self._every()}

    def _every(self) -> Iterator[tuple[int, int, str, int]]:
        for i, (shape, labels) in enumerate(zip(self.shapes, self._labels, strict=True)):
            for d, (n, axis) in enumerate(zip(shape, labels, strict=True)):
                if axis:
                    yield i, d, axis, n

    @staticmethod
    def _share(n: int, longest: int) -> Fraction | None:
        if n == 1 < longest:
            return None
        for denominator in range(1, longest + 1):
            share = Fraction(round(Fraction(n * denominator, longest)), denominator)
            if share > 0 and abs(n - longest * share) < 1:
                return share
        raise AssertionError

    @property
    def least(self) -> Lengths:
        """The least length of the longest input along each axis for which no input gets shorter than it is."""
        found = dict(self.longest)
        for i, d, axis, n in self._every():
            share = self._shares[i, d]
            if share is not None:
                found[axis] = max(found[axis], ceil(n / share))
        return {axis: next(self.whole(axis, n)) for axis, n in found.items()}

    def whole(self, axis: str, start: int) -> Iterator[int]:
        """The lengths from `start` on at which every input has a whole number of samples."""
        shares = [self._shares[i, d] for i, d, a, _ in self._every() if a == axis]
        step = lcm(*(share.denominator for share in shares if share is not None))
        first = -(-start // step) * step
        return iter(range(first, first + MOST * step, step))

    def at(self, lengths: Lengths) -> Shapes:
        """The shapes of all inputs. Raises InputError where one would have no whole number of samples."""
        shapes = [list(shape) for shape in self.shapes]
        for i, d, axis, n in self._every():
            share = self._shares[i, d]
            size = Fraction(n) if share is None else lengths[axis] * share
            if size.denominator != 1 or size < 1:
                raise InputError(
                    f"{lengths[axis]} samples along {axis} leave no whole size for input {i} of shape "
                    f"{'x'.join(map(str, self.shapes[i]))}, which has {share} of them"
                )
            shapes[i][d] = int(size)
        return tuple(map(tuple, shapes))

    def refuse_unclear(self, axis: str) -> None:
        """Raises InputError where every input has one sample along an axis: each may be an image, or a noise level."""
        if self.longest[axis] == 1 and len(self.shapes) > 1:
            raise InputError(
                Argument("pad_to_fit"),
                f": every input has one sample along {axis}, so nothing says which of them are images; pad them before",
            )


def fitted(runs: Runs, inputs: Inputs, pinned: Lengths | None = None, likely: Sequence[Sequence[int]] = ()) -> Shapes:
    """The least shapes at which a net runs and no input is shorter than it is, each axis on its own.

    pinned: lengths that are given. likely: as for `one_size`. Raises InputError where none was found.
    """
    pinned = pinned or {}
    if not pinned and runs(inputs.shapes):
        return inputs.shapes
    least = {**inputs.least, **pinned}
    free = [axis for axis in least if axis not in pinned]
    base = next((at for at in _bases(inputs, least, free) if runs(inputs.at(at))), None)
    one = None
    if base is None and not pinned and not accepted(runs, inputs.shapes, inputs.layouts):
        one = one_size(runs, inputs.shapes, inputs.layouts, likely)
    if one is not None:
        there = Inputs(one, inputs.layouts).longest
        if all(n >= least[axis] for axis, n in there.items()) and inputs.at(there) == one:
            base = there
    if base is None:
        for axis in free:
            inputs.refuse_unclear(axis)
        raise InputError(*_nowhere(runs, inputs, pinned, one))
    found = dict(base)
    for axis in free:
        tried = (n for n in islice(inputs.whole(axis, least[axis]), MOST) if n < base[axis])
        found[axis] = next((n for n in tried if runs(inputs.at({**base, axis: n}))), base[axis])
    for axis, n in found.items():
        if n > inputs.longest[axis]:
            inputs.refuse_unclear(axis)
    shapes = inputs.at(found)
    return shapes if runs(shapes) else inputs.at(base)


def _bases(inputs: Inputs, least: Lengths, free: Sequence[str]) -> Iterator[Lengths]:
    """Lengths at which a net may run: the least; multiples of one number along all axes, or one more; at last multiples
    of different ones."""
    yield least
    for more in product((0, 1), repeat=len(free)) if free else ():
        for step in MULTIPLES[1:]:
            at = {a: -(-(least[a] - m) // step) * step + m for a, m in zip(free, more, strict=True)}
            yield {**least, **{a: next(inputs.whole(a, n)) for a, n in at.items()}}
    for steps in islice(product(USUAL, repeat=len(free)), MOST_PAIRS):
        yield {**least, **{a: next(inputs.whole(a, -(-least[a] // n) * n)) for a, n in zip(free, steps, strict=True)}}


def _nowhere(runs: Runs, inputs: Inputs, pinned: Lengths, one: Shapes | None) -> list[object]:
    shown = ", ".join("x".join(map(str, shape)) for shape in inputs.shapes)
    if pinned:
        tile = " and ".join(f"{n} along {axis}" for axis, n in pinned.items())
        where = where_it_runs(runs, inputs.at({**inputs.least, **pinned}), inputs.layouts)
        return [f"no tiles of {tile}, of whatever image: the net does not run on so many samples{where}"]
    if one is None:
        no_larger = "; give an image of a size that it takes, or a smaller one"
        where = where_it_runs(runs, inputs.shapes, inputs.layouts)
    else:
        at = ", ".join("x".join(map(str, shape)) for shape in one)
        where, no_larger = f"; tried, it runs at {at}", ""
    no_larger = where or no_larger
    return [Argument("pad_to_fit"), f": no larger size than {shown} was found at which the net runs{no_larger}"]
