"""Probabilities as integers: what the range coder is given, made once and kept with the weights.

Densities come from erf and exp, which differ between machines in their last bits; a codec therefore keeps the integers
that were made of them, and neither side computes a density again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

TOTAL = 2**16
FARTHEST = 2**20
"""No table begins farther from 0."""


@dataclass(frozen=True)
class Tables:
    """Table i gives symbol `offsets[i] + j` the probability `counts[i][j] / 2^16`; its last count is the escape's.

    Every count is at least 1 and every table sums to 2^16, so the intervals of the range coder follow from integers.
    """

    counts: tuple[Integers, ...]
    offsets: tuple[int, ...]

    def __post_init__(self) -> None:
        for i, counts in enumerate(self.counts):
            if len(counts) < 2 or int(counts.min()) < 1 or int(counts.sum()) != TOTAL:
                raise ValueError(f"table {i}: {len(counts)} counts that sum to {int(counts.sum())}, not to {TOTAL}")
        if len(self.offsets) != len(self.counts):
            raise ValueError(f"{len(self.offsets)} offsets for {len(self.counts)} tables")
        if any(abs(offset) > FARTHEST for offset in self.offsets):
            raise ValueError(f"offsets of up to {max(map(abs, self.offsets))}; expected at most {FARTHEST}")

    def bits(self, index: int) -> Floats:
        """What each symbol of a table costs, the escape last."""
        found: Floats = math.log2(TOTAL) - np.log2(self.counts[index])
        return found

    def flat(self) -> tuple[Integers, Integers, Integers]:
        """All counts one after the other, the number of them per table, and the offsets."""
        lengths = np.array([len(counts) for counts in self.counts], np.int64)
        return np.concatenate(self.counts), lengths, np.array(self.offsets, np.int64)

    @classmethod
    def of_flat(cls, counts: Integers, lengths: Integers, offsets: Integers) -> Tables:
        """The inverse of `flat`. Raises ValueError."""
        if int(lengths.sum()) != len(counts):
            raise ValueError(f"{len(counts)} counts; the lengths say {int(lengths.sum())}")
        parts = np.split(counts, np.cumsum(lengths)[:-1])
        return cls(tuple(parts), tuple(int(offset) for offset in offsets))


def integers(probabilities: Floats) -> Integers:
    """Counts of at least 1 that sum to 2^16, by largest remainders."""
    share = probabilities / probabilities.sum() * (TOTAL - len(probabilities))
    counts = np.floor(share).astype(np.int64)
    rest = TOTAL - len(probabilities) - int(counts.sum())
    counts[np.argsort(counts - share, kind="stable")[:rest]] += 1
    return counts + 1


def tables(densities: Sequence[tuple[int, Floats]]) -> Tables:
    """Tables of probabilities by symbol: each is the first symbol, and the probability of it and of those after it.

    What is missing to 1 is the escape's.
    """
    counts = [integers(np.append(p, max(0.0, 1.0 - float(p.sum())))) for _, p in densities]
    return Tables(tuple(counts), tuple(first for first, _ in densities))
