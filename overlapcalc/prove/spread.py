"""Operands moved so that every comparison of a net comes out both ways.

Before an operator that compares, clamps, rounds or looks up, the samples are scaled and shifted by two numbers, the
same at every position and in every run. That changes what the net computes, but not what reads what, nor where a
constant lies: every claim about the structure of the net holds for the changed one as well. So a claim that the
changed net refutes is false.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from .moving import AskedCall, Change, asked, changed, counted, met, settled
from .questions import LEVELS, OPAQUE, PLACES, Question, Values, question
from .result import NotReached, Place


@dataclass
class Site:
    """One call of one run. seen: answer -> the number of samples that got it."""

    op: str
    place: Place
    question: Question
    seen: dict[int, int] = field(default_factory=dict)
    change: Change | None = None

    def met(self) -> bool:
        """Whether every answer was given, and to more than a few samples."""
        return met(self.question, self.seen)


def missing(question: Question, seen: Mapping[int, int]) -> str:
    if question.ways:
        wanted = question.needed or range(len(question.ways))
        return " or ".join(question.ways[i] for i in wanted if not seen.get(i))
    return f"anything but {next(iter(seen))}" if len(seen) == 1 and question.asked_for() > 1 else ""


class OtherCallsError(Exception):
    """The net makes other calls on a tile than on the whole image."""


class Spread:
    """Watches the calls of a net's runs. seed: moves operands, each seed differently; None: leaves them alone, as it
    does those of the calls in `left`.

    The first run settles what is moved and how; once `settled`, the others move the same.
    """

    def __init__(self, seed: int | None = None, left: frozenset[Hashable] = frozenset()) -> None:
        self.sites: dict[Hashable, Site] = {}
        self.settled = False
        self._seed, self._left = seed, left

    def call(
        self,
        key: Hashable,
        op: str,
        values: Values,
        data: Set[str],
        run: Callable[[Values], Any],
        place: Callable[[], Place],
        *,
        in_place: bool = False,
    ) -> Any:
        """The result of calling `op` (without its namespace) on `values`. data: those that derive from the input."""
        asks = question(op, values, data)
        if asks is None or (in_place and (asks.kind != LEVELS or not asks.ways)):
            return run(values)
        if self.settled:
            site = self.sites.get(key)
            if site is None:
                return run(values)
            if site.op != op:
                raise OtherCallsError(str(place()))
            return changed(site.change, AskedCall(asks, values, data, run, in_place))[0]
        call = AskedCall(asks, values, data, run, in_place)
        site = self.sites[key] = Site(op, place(), asks)
        if asks.kind == OPAQUE:
            site.change = None if self._seed is None or key in self._left else SCALED[self._seed]
            return changed(site.change, call)[0]
        site.seen = counted(asked(call))
        if self._seed is not None:
            if asks.kind == PLACES:
                site.change = Change("wrap")  # indices made from moved operands may point beyond the table
            if not site.met() and key not in self._left:
                draw = random.Random(f"{self._seed} {len(self.sites)}")
                site.change = settled(call, draw) or site.change
        result, answers = changed(site.change, call)
        if site.change is not None:
            site.seen = counted(answers())
        return result

    @property
    def moves(self) -> bool:
        """Whether it moves anything."""
        return any(site.change is not None and site.change != Change("wrap") for site in self.sites.values())


SCALED = {1: Change("move", 30.0, 0.3), 2: Change("move", 0.03, -0.3)}
"""Before a user's own operator, which may compare its samples with anything."""
SEEDS = tuple(SCALED)

Outputs = Mapping[str, Tensor]


def spread_out(run: Callable[[Spread], Outputs]) -> tuple[Spread, ...]:
    """The net watched as it is, then with its operands moved, as often as that gives new answers.

    run: one run of the whole net. An operand whose move makes an output infinite or NaN is left alone.
    """
    plain = Spread()
    run(plain)
    found = [plain]
    for seed in SEEDS:
        if all(met(site.question, counts) for site, counts in _together(found)):
            break
        moved = _finite(run, seed)
        if moved is not None:
            found.append(moved)
    for spread in found:
        spread.settled = True
    return tuple(found)


def _finite(run: Callable[[Spread], Outputs], seed: int) -> Spread | None:
    """Operands moved so that all outputs stay finite, leaving some alone if need be; None where nothing is moved."""
    first = Spread(seed)
    if _runs(run, first):
        return first if first.moves else None
    for key in [key for key, site in first.sites.items() if site.change is not None]:
        fewer = Spread(seed, left=frozenset({key}))
        if _runs(run, fewer) and fewer.moves:
            return fewer
    return None


def _runs(run: Callable[[Spread], Outputs], spread: Spread) -> bool:
    """Whether the net runs with its operands moved (an index may point beyond a table), with finite outputs."""
    try:
        return all(bool(y.isfinite().all()) for y in run(spread).values())
    except (RuntimeError, IndexError, ValueError):
        return False


def _together(runs: Iterable[Spread]) -> list[tuple[Site, dict[int, int]]]:
    """Each site of one net, with the answers of all runs."""
    seen: dict[Hashable, tuple[Site, dict[int, int]]] = {}
    for run in runs:
        for key, site in run.sites.items():
            _, counts = seen.setdefault(key, (site, {}))
            for answer, n in site.seen.items():
                counts[answer] = counts.get(answer, 0) + n
    return list(seen.values())


def unanswered(runs: Iterable[Spread]) -> tuple[NotReached, ...]:
    """The answers that no sample of any of these runs of one net got, and where."""
    found = (NotReached(**vars(site.place), missing=missing(site.question, counts)) for site, counts in _together(runs))
    return tuple(dict.fromkeys(place for place in found if place.missing))
