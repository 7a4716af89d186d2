"""Periodic index maps, the central value of overlapcalc.

Along one axis, an operator maps an output index to the set of input indices that it reads, periodically: `period`
outputs later, it reads `advance` inputs later. All else is composition (`outer @ inner`) and union (`a | b`) of maps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import gcd, lcm

from .spans import EMPTY, Pair, Span, Spans


@dataclass(frozen=True, eq=False)
class IndexMap:
    """What each output index reads, for every integer `o`: `m[o + period] == m[o] + advance`.

    `phases[o]` is the exact set read by output `o` for `0 <= o < period`. A 3-tap, stride-2 convolution padded
    by 1 is `IndexMap(1, 2, (Spans(((-1, 2),)),))`: output `o` reads `[2o - 1, 2o + 2)`.

    Closed under composition and union, immutable, integers only. Maps that read the same are equal, in whatever
    period they are written. Raises ValueError unless period and advance are 1 or more, with one set per phase.

    >>> conv = IndexMap.window(5, stride=2, padding=2)
    >>> (conv @ conv).reads(0, 1)  # two of them, one after the other
    Span(start=-6, stop=7)
    """

    period: int
    advance: int
    phases: tuple[Spans, ...]

    def __post_init__(self) -> None:
        if self.period < 1 or self.advance < 1 or len(self.phases) != self.period:
            raise ValueError(
                f"IndexMap needs period >= 1, advance >= 1 and one set per phase; got period {self.period}, "
                f"advance {self.advance}, {len(self.phases)} phases"
            )

    # ---- construction -------------------------------------------------------------------------------------

    @staticmethod
    def identity() -> IndexMap:
        """Output `o` reads `{o}`: pointwise operators."""
        return _IDENTITY

    @staticmethod
    def shift(by: int) -> IndexMap:
        """Output `o` reads `{o + by}`: a crop (`by > 0`) or the inside of a pad (`by < 0`).

        >>> IndexMap.shift(3).reads(0, 4)
        Span(start=3, stop=7)
        """
        return IndexMap(1, 1, (Spans.span(by, by + 1),))

    @staticmethod
    def taps(offsets: Iterable[int], stride: int = 1) -> IndexMap:
        """Output `o` reads `{stride*o + t for t in offsets}`.

        >>> IndexMap.taps([0, 3], stride=2)[5]  # samples 10 and 13
        Spans(parts=((10, 11), (13, 14)))
        """
        return IndexMap(1, stride, (Spans.points(offsets),))

    @staticmethod
    def window(kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> IndexMap:
        """Convolution, pooling: output `o` reads `{stride*o - padding + dilation*t, 0 <= t < kernel}`.

        >>> IndexMap.window(3, padding=1).reads(0, 1), IndexMap.window(3, padding=2, dilation=2).reads(0, 1)
        (Span(start=-1, stop=2), Span(start=-2, stop=3))
        """
        if dilation == 1:
            return IndexMap(1, stride, (Spans.span(-padding, kernel - padding),))
        return IndexMap.taps((dilation * t - padding for t in range(kernel)), stride)

    @staticmethod
    def transposed(taps: Iterable[int], stride: int = 1, padding: int = 0, dilation: int = 1) -> IndexMap:
        """Transposed convolution: output `o` reads every `j` with `o = stride*j - padding + dilation*t`.

        A phase that no tap reaches reads nothing: those samples hold the bias alone.

        >>> IndexMap.transposed(range(5), stride=2, padding=2).reads(0, 2)  # the last of four such layers in a decoder
        Span(start=-1, stop=2)
        >>> print(IndexMap.transposed([0], stride=2).reads(1, 2))
        None
        """
        reads: list[list[int]] = [[] for _ in range(stride)]
        for t in taps:
            reach = dilation * t - padding
            phase = reach % stride
            reads[phase].append((phase - reach) // stride)
        return IndexMap(stride, 1, tuple(Spans.points(js) for js in reads))

    @staticmethod
    def repeat(times: int, phase: int | None = None) -> IndexMap:
        """Nearest upsampling: output `o` reads `{floor(o / times)}`; with `phase`, only where `o % times == phase`.

        >>> IndexMap.repeat(2).reads(3, 8)
        Span(start=1, stop=4)
        """
        one = Spans.span(0, 1)
        return IndexMap(times, 1, tuple(one if phase in (None, p) else EMPTY for p in range(times)))

    @staticmethod
    def table(sources: Sequence[Iterable[int]]) -> IndexMap:
        """Output `o` reads exactly `sources[o]`, for `0 <= o < len(sources)`: for channels, of which there are no more.

        >>> IndexMap.table([[2], [0, 1]]).reads(1, 2)
        Span(start=0, stop=2)
        """
        return IndexMap(
            max(1, len(sources)),
            1 + max((max(s, default=0) for s in map(tuple, sources)), default=0),
            tuple(Spans.points(s) for s in sources) or (EMPTY,),
        )

    @staticmethod
    def from_function(period: int, advance: int, reads: Callable[[int], Spans]) -> IndexMap:
        """The map with these reads at `0 <= o < period`, continued periodically."""
        return IndexMap(period, advance, tuple(reads(o) for o in range(period)))

    # ---- reading ------------------------------------------------------------------------------------------

    def __getitem__(self, o: int) -> Spans:
        """The exact set read by output `o`, any integer."""
        turns, phase = divmod(o, self.period)
        return self.phases[phase].shift(turns * self.advance)

    @property
    def scale(self) -> Fraction:
        """Input samples per output sample.

        >>> IndexMap.window(5, stride=2).scale, IndexMap.repeat(2).scale
        (Fraction(2, 1), Fraction(1, 2))
        """
        return Fraction(self.advance, self.period)

    @property
    def empty(self) -> bool:
        """True when no output reads anything."""
        return not any(self.phases)

    def over(self, outputs: Spans) -> Spans:
        """The exact set read by a set of outputs.

        >>> IndexMap.taps([0, 3]).over(Spans.span(0, 2))  # outputs 0 and 1 read 0, 3 and 1, 4
        Spans(parts=((0, 2), (3, 5)))
        """
        found: list[Pair] = []
        for a, b in outputs.parts:
            for o in range(a, min(b, a + self.period)):  # of a long table only the rows in question
                phase = o % self.period
                first, last = o // self.period, (b - 1 - phase) // self.period
                for lo, hi in self.phases[phase].parts:
                    if hi - lo >= self.advance:  # its copies touch: one step, however many outputs
                        found.append((lo + first * self.advance, hi + last * self.advance))
                    else:
                        found.extend((lo + i * self.advance, hi + i * self.advance) for i in range(first, last + 1))
        return Spans.of(found)

    def reads(self, start: int, stop: int) -> Span | None:
        """The hull of what outputs `[start, stop)` read; None where they read nothing.

        >>> IndexMap.window(5, stride=2, padding=2).reads(0, 4)  # from 0 - 2 to 2*3 + 2
        Span(start=-2, stop=9)
        """
        low, high = self._extremes
        p, adv = self.period, self.advance
        best_low: int | None = None
        best_high: int | None = None
        if self._monotone:
            return Span(low[start % p] + (start // p) * adv, high[(stop - 1) % p] + ((stop - 1) // p) * adv)
        for o in range(start, min(stop, start + p)):  # the first period is enough: later ones lie higher
            at = low[o % p]
            if at is not None and (best_low is None or at + (o // p) * adv < best_low):
                best_low = at + (o // p) * adv
        if best_low is None:
            return None
        for o in range(max(start, stop - p), stop):
            at = high[o % p]
            if at is not None and (best_high is None or at + (o // p) * adv > best_high):
                best_high = at + (o // p) * adv
        assert best_high is not None
        return Span(best_low, best_high)

    @cached_property
    def _extremes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        low = tuple(s.parts[0][0] if s.parts else None for s in self.phases)
        high = tuple(s.parts[-1][1] if s.parts else None for s in self.phases)
        return low, high  # type: ignore[return-value]  # None marks a phase that reads nothing

    @cached_property
    def _monotone(self) -> bool:
        """Every phase reads something, and neither end ever moves back: end outputs decide the hull."""
        if not all(self.phases):
            return False
        low, high = self._extremes
        return all(
            ends[i] <= (ends[i + 1] if i + 1 < self.period else ends[0] + self.advance)
            for ends in (low, high)
            for i in range(self.period)
        )

    @cached_property
    def skips(self) -> bool:
        """Whether some input samples are read by no output, as with `IndexMap.window(1, stride=2)`."""
        read = {i % self.advance for s in self.phases for a, b in s.parts for i in range(a, min(b, a + self.advance))}
        return len(read) < self.advance

    # ---- algebra ------------------------------------------------------------------------------------------

    def __matmul__(self, inner: IndexMap) -> IndexMap:
        """Exact composition: `(outer @ inner)[o]` is the union of `inner[j]` for `j` in `outer[o]`.

        >>> IndexMap.window(3, padding=1) @ IndexMap.window(3, padding=1) == IndexMap.window(5, padding=2)
        True
        """
        period, advance, turns = self._joint(inner)
        return IndexMap(period, advance, tuple(inner.over(self[o]) for o in range(turns * self.period)))

    def hull_after(self, inner: IndexMap) -> IndexMap:
        """`(self @ inner).hulls()`, at the cost of looking up only the ends of `inner`.

        The hull of a union is the hull of the hulls. So as long as *this* map's taps are exact, knowing `inner` by
        its hulls alone loses nothing. (The hull of this map's taps would: a gap between taps would seem to be read.)
        """
        if self is _IDENTITY:
            return inner
        period, advance, turns = self._joint(inner)
        phases: list[Spans] = []
        for turn in range(turns):
            for reads in self.phases:
                ends = [inner.reads(a + turn * self.advance, b + turn * self.advance) for a, b in reads.parts]
                real = [e for e in ends if e is not None]
                phases.append(Spans.span(min(e.start for e in real), max(e.stop for e in real)) if real else EMPTY)
        return IndexMap(period, advance, tuple(phases)).reduced()

    def _joint(self, inner: IndexMap) -> tuple[int, int, int]:
        turns = inner.period // gcd(inner.period, self.advance)
        return turns * self.period, turns * self.advance // inner.period * inner.advance, turns

    def __or__(self, other: IndexMap) -> IndexMap:
        """Exact union of two branches. Raises ValueError where their scales differ: no period fits both.

        >>> (IndexMap.taps(range(-4, 1)) | IndexMap.taps(range(5))).reads(0, 1)  # causal and anti-causal: 9, not 5
        Span(start=-4, stop=5)
        """
        if self.scale != other.scale:
            raise ValueError(f"maps of scales {self.scale} and {other.scale} have no union")
        period = lcm(self.period, other.period)
        return IndexMap(
            period,
            self.advance * (period // self.period),
            tuple(self[o] | other[o] for o in range(period)),
        )

    def hulls(self) -> IndexMap:
        """The map that reads the hull of each output's reads.

        >>> IndexMap.taps([0, 3]).hulls() == IndexMap.window(4)
        True
        """
        return IndexMap(self.period, self.advance, tuple(s.filled() for s in self.phases))

    def reduced(self) -> IndexMap:
        """The same map written in its smallest period."""
        common = gcd(self.period, self.advance)
        for turns in _divisors_descending(common):
            period, advance = self.period // turns, self.advance // turns
            if all(self.phases[o] == self.phases[o - period].shift(advance) for o in range(period, self.period)):
                return IndexMap(period, advance, self.phases[:period]) if turns > 1 else self
        return self

    @cached_property
    def _key(self) -> tuple[int, int, tuple[Spans, ...]]:
        small = self.reduced()
        return small.period, small.advance, small.phases

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IndexMap) and (self is other or self._key == other._key)

    @cached_property
    def _hash(self) -> int:
        return hash(self._key)

    def __hash__(self) -> int:
        return self._hash


def _divisors_descending(n: int) -> Sequence[int]:
    return [d for d in range(n, 0, -1) if n % d == 0]


_IDENTITY = IndexMap(1, 1, (Spans(((0, 1),)),))
