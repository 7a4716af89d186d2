"""The joint grid: how far each tensor moves when the inputs move by one step.

Every tensor of the net has a rate per axis: its samples per unit of its component. Operators fix the ratios of
rates; joins tie components together. A step is the smallest shift that moves every tensor by a whole number of
samples and every operator by whole periods. So the grid comes from every node on the way, never from the final hull.
"""

from __future__ import annotations

from fractions import Fraction
from math import gcd, lcm

Rate = tuple[int, Fraction]
"""Component and samples per unit of that component (before components are tied together)."""


class RateTies:
    """Components tied by ratios (a union-find with weights). `tie(a, b)` says whether rates a and b agree.

    Mutable while a net is being propagated; `Grid` is the frozen result.

    >>> ties = RateTies()
    >>> component, rate = ties.component()
    >>> ties.whole((component, rate / 4))  # somewhere in the net a tensor has a quarter of the samples
    >>> ties.steps()
    {0: Fraction(4, 1)}
    """

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._weight: list[Fraction] = []  # units of the parent per own unit
        self._marks: list[Rate] = []

    def component(self) -> Rate:
        """A new component, at rate 1."""
        self._parent.append(len(self._parent))
        self._weight.append(Fraction(1))
        return len(self._parent) - 1, Fraction(1)

    def root(self, rate: Rate) -> Rate:
        component, samples = rate
        while self._parent[component] != component:
            samples *= self._weight[component]
            component = self._parent[component]
        return component, samples

    def tie(self, a: Rate, b: Rate) -> bool:
        """Make a and b the same rate. False, and nothing changes, where they are known to differ."""
        (ra, sa), (rb, sb) = self.root(a), self.root(b)
        if ra == rb:
            return sa == sb
        self._parent[rb], self._weight[rb] = ra, sa / sb
        return True

    def whole(self, rate: Rate, multiple: int = 1) -> None:
        """Require that one step moves this rate by a whole multiple of `multiple` samples."""
        self._marks.append((rate[0], rate[1] / multiple))

    def steps(self) -> dict[int, Fraction]:
        """Units per step of each root component: the smallest that makes every marked rate a whole number."""
        step: dict[int, Fraction] = {}
        for mark in self._marks:
            component, samples = self.root(mark)
            need = 1 / samples
            old = step.get(component)
            step[component] = need if old is None else common_multiple(old, need)
        return step


def common_multiple(a: Fraction, b: Fraction) -> Fraction:
    """The smallest positive rational that is a whole multiple of both.

    >>> common_multiple(Fraction(1, 2), Fraction(1, 3))
    Fraction(1, 1)
    """
    return Fraction(lcm(a.numerator, b.numerator), gcd(a.denominator, b.denominator))
