"""Which sizes does a net accept? Found by trying: a net may refuse a size anywhere in its Python."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ..ops.graph import Shapes
from ..ops.layout import AXES, default_layout
from ..stages import at_stage

Runs = Callable[[Shapes], bool]
STEPS = (2, 4, 8, 16, 32, 64, 128, 256)
"""Multiples that are tried to find a size that runs."""
LONGEST_STEP = 128
SEEN = 32
"""At least so many lengths in a row are run before a step is said, and so many below them."""
SECONDS = 20.0
"""The most processor time for all tries; a step that has not been seen twice by then is not said."""


@dataclass(frozen=True)
class Sizes:
    """The lengths of one axis at which a net runs, its other axes as they were tried.

    axis. smallest: the least, in samples. step, residues: a length n runs if n % step is one of the residues and n is
    at least `smallest`. tried: the longest that was run; beyond it the same is expected, and not known.

    >>> net = nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(16, 16, 3))
    >>> found = oc.sizes(net, (1, 1, 64, 64))["H"]
    >>> found.smallest, found.step, found.residues, 66 in found, found.next(66)
    (12, 4, (0,), False, 68)
    """

    axis: str
    smallest: int
    step: int
    residues: tuple[int, ...]
    tried: int

    def __contains__(self, n: object) -> bool:
        return isinstance(n, int) and n >= self.smallest and n % self.step in self.residues

    def next(self, n: int) -> int:
        """The least length that runs, of at least n samples."""
        n = max(n, self.smallest)
        return next(m for m in range(n, n + self.step) if m in self)

    def before(self, n: int) -> int | None:
        """The greatest length that runs, of at most n samples, if there is one."""
        return next((m for m in range(n, max(n - self.step, self.smallest - 1), -1) if m in self), None)

    def __str__(self) -> str:
        """Such as "multiples of 8 from 16"."""
        if self.step == 1:
            return f"any from {self.smallest}"
        if self.residues == (0,):
            return f"multiples of {self.step} from {self.smallest}"
        if len(self.residues) == 1:
            return f"multiples of {self.step} and {self.residues[0]} more, from {self.smallest}"
        shown = ", ".join(map(str, self.residues))
        return f"those that leave {shown} when divided by {self.step}, from {self.smallest}"

    def to_dict(self) -> dict[str, object]:
        return {
            "smallest": self.smallest,
            "step": self.step,
            "residues": list(self.residues),
            "tried": self.tried,
        }


def accepted(runs: Runs, shapes: Shapes, layouts: Sequence[str]) -> dict[str, Sizes]:
    """The sizes of each axis at which a net runs; no entry where none was found.

    Starts at these shapes, or above them at the first multiple of a power of two at which the net runs. Inputs that
    share an axis grow together.
    """
    at_stage("trying which sizes it takes")
    search = _Search(runs, shapes, layouts)
    base = search.base()
    return {} if base is None else {axis: found for axis in base if (found := search.along(axis, base)) is not None}


class _Search:
    def __init__(self, runs: Runs, shapes: Shapes, layouts: Sequence[str]) -> None:
        self._runs, self._shapes = runs, shapes
        letters = [layout or default_layout(len(shape)) for layout, shape in zip(layouts, shapes, strict=True)]
        self._labels = [tuple(c if c in AXES else "" for c in layout) for layout in letters]
        self._known: dict[tuple[int, ...], bool] = {}
        self._until = time.process_time() + SECONDS
        self.given: dict[str, int] = {}
        for shape, labels in zip(shapes, self._labels, strict=True):
            for n, axis in zip(shape, labels, strict=True):
                if axis and self.given.get(axis, 1) == 1:  # a noise level has one sample beside an image
                    self.given[axis] = n

    def base(self) -> dict[str, int] | None:
        """Lengths at which the net runs, near those that were given."""
        for step, more in [(1, 0), *((step, 0) for step in STEPS), *((step, 1) for step in STEPS)]:
            lengths = {axis: -(-(n - more) // step) * step + more for axis, n in self.given.items()}
            if self._run(lengths):
                return lengths
        return None

    def along(self, axis: str, base: Mapping[str, int]) -> Sizes | None:
        start = base[axis]
        seen: list[bool] = []
        for step in self._steps():
            while len(seen) < max(SEEN, 2 * step):
                if time.process_time() > self._until:
                    return None
                seen.append(self._run({**base, axis: start + len(seen)}))
            if all(seen[i] == seen[i + step] for i in range(len(seen) - step)):
                break
        else:
            return None
        residues = tuple(sorted({(start + i) % step for i in range(step) if seen[i]}))
        smallest = self._smallest(axis, base, step, residues)
        return Sizes(axis, smallest, step, residues, start + len(seen) - 1)

    def _steps(self) -> Iterator[int]:
        yield from (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 48, 64, 96, LONGEST_STEP)

    def _smallest(self, axis: str, base: Mapping[str, int], step: int, residues: Sequence[int]) -> int:
        """One by one at first, then by bisection: a net that runs at a length mostly runs at longer ones."""
        fits = [n for n in range(1, base[axis] + 1) if n % step in residues]
        low, high = 0, len(fits) - 1
        while high > max(0, len(fits) - SEEN):
            if not self._run({**base, axis: fits[high - 1]}):
                return fits[high]
            high -= 1
        while low < high:
            middle = (low + high) // 2
            if self._run({**base, axis: fits[middle]}):
                high = middle
            else:
                low = middle + 1
        return fits[high]

    def _run(self, lengths: Mapping[str, int]) -> bool:
        key = tuple(lengths.values())
        if key not in self._known:
            shapes = self.shapes_at(lengths)
            self._known[key] = shapes is not None and self._runs(shapes)
        return self._known[key]

    def shapes_at(self, lengths: Mapping[str, int]) -> Shapes | None:
        """The shapes of all inputs; None where one would have no whole size. One sample stays one."""
        found = []
        for shape, labels in zip(self._shapes, self._labels, strict=True):
            sizes = []
            for n, axis in zip(shape, labels, strict=True):
                size = Fraction(n * lengths[axis], self.given[axis]) if axis and n > 1 else Fraction(n)
                if size.denominator != 1 or size < 1:
                    return None
                sizes.append(int(size))
            found.append(tuple(sizes))
        return tuple(found)


def one_size(runs: Runs, shapes: Shapes, layouts: Sequence[str], likely: Sequence[Sequence[int]] = ()) -> Shapes | None:
    """A size at which a net runs that may run at no other: it adds what it learned sample by sample, say, or has a
    linear layer over all of them. None where none was found in time.

    likely: shapes of what it has learned. Lengths out of these are tried, and their multiples; then equal lengths.
    """
    at_stage("trying which size it takes")
    search, until = _Search(runs, shapes, layouts), time.process_time() + SECONDS_FOR_ONE
    axes = sorted(search.given)
    ends = dict.fromkeys(tuple(shape[-len(axes) :]) for shape in likely if len(shape) > len(axes) > 0)
    learned = [tuple(n * times for n in end) for times in TIMES for end in ends if min(end) > 1]
    for lengths in (*learned, *((n,) * len(axes) for n in (*range(2, LONGEST_TRIED + 1), 1))):
        if time.process_time() > until:
            return None
        at = search.shapes_at(dict(zip(axes, lengths, strict=True)))
        if at is not None and runs(at):
            return at
    return None


SECONDS_FOR_ONE = 2.0
TIMES = (1, 2, 4, 8, 14, 16, 32)
"""What a net has learned sample by sample is often of patches of so many samples."""
LONGEST_TRIED = 1024


def where_it_runs(runs: Runs, shapes: Shapes, layouts: Sequence[str], likely: Sequence[Sequence[int]] = ()) -> str:
    """Which sizes near these run, as the end of a message; "" where none was found, or these do. likely: as for
    `one_size`."""
    if runs(shapes):
        return ""
    search = _Search(runs, shapes, layouts)
    found = accepted(runs, shapes, layouts)
    if found.keys() != search.given.keys():
        one = one_size(runs, shapes, layouts, likely)
        return "" if one is None else f"; tried, it runs at {', '.join('x'.join(map(str, shape)) for shape in one)}"
    said: dict[str, list[str]] = {}
    for axis, sizes in found.items():
        said.setdefault(str(sizes), []).append(axis)
    near = []
    for lengths in (
        {axis: sizes.before(search.given[axis]) or sizes.next(1) for axis, sizes in found.items()},
        {axis: sizes.next(search.given[axis]) for axis, sizes in found.items()},
    ):
        at = search.shapes_at(lengths)
        if at is not None and runs(at):
            near.append(", ".join("x".join(map(str, shape)) for shape in at))
    text = "; ".join(f"{' and '.join(axes)}: {sizes}" for sizes, axes in said.items())
    shown = " and ".join(dict.fromkeys(near))
    return f"; tried, it runs at other sizes ({text})" + (f", {shown} for example" if shown else "")
