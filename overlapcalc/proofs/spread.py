"""Operands moved so that every comparison of a net comes out both ways.

In front of an operator that compares, clamps, rounds or looks up, the samples are scaled and shifted by two numbers,
the same at every position and in every run. That changes what the net computes, but not what reads what, nor where a
constant lies: whatever is claimed of the net by its structure holds for the changed one as well. So a claim that the
changed net refutes is false.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .questions import CHOICE, LEVELS, LOGIC, OPAQUE, PLACES, STEPS, Question, Values, question
from .result import NotReached

MOST = 1 << 16
"""So many samples of an operand are looked at to find where to move it."""
STEPS_WIDE = 8
SHARE = 16
"""An answer counts as met by one sample in so many, shared among the answers."""


class Place(NamedTuple):
    """Where an operator stands: path of the layer, name of the operator, source line, "" where unknown."""

    layer: str
    op: str
    source: str

    def __str__(self) -> str:
        at = f" ({self.source})" if self.source else ""
        return f"{self.layer or 'net'}: {self.op}{at}"


@dataclass(frozen=True)
class Change:
    """x -> scale * x + offset; how: "move" the operand, or what is asked instead where no move would do."""

    how: str
    scale: float = 1.0
    offset: float = 0.0

    def moved(self, x: Tensor) -> Tensor:
        if x.is_floating_point():
            return x * self.scale + self.offset
        return (x.to(torch.float64) * self.scale + self.offset).floor().to(x.dtype)


@dataclass
class Site:
    """One call of one run. seen: answer -> how many samples got it."""

    op: str
    place: Place
    question: Question
    seen: dict[int, int] = field(default_factory=dict)
    change: Change | None = None

    def met(self) -> bool:
        """Whether every answer is there, and not by a few samples only."""
        return _met(self.question, self.seen)


def missing(question: Question, seen: Mapping[int, int]) -> str:
    if question.ways:
        wanted = question.needed or range(len(question.ways))
        return " or ".join(question.ways[i] for i in wanted if not seen.get(i))
    return f"anything but {next(iter(seen))}" if len(seen) == 1 and question.asked_for() > 1 else ""


def _met(question: Question, seen: Mapping[int, int]) -> bool:
    if question.kind == OPAQUE:
        return False
    total, wanted = sum(seen.values()), question.asked_for()
    if question.ways:
        enough = max(1, total // (SHARE * wanted))
        return all(seen.get(i, 0) >= enough for i in question.needed or range(wanted))
    return len(seen) >= min(wanted, total)


class OtherCallsError(Exception):
    """The net makes other calls on a tile than on the whole image."""


class Spread:
    """Watches the calls of a net's runs. seed: moves operands, each seed to other places; None: leaves them alone, as
    it does those of the calls in `left`.

    The first run settles what is moved where; once `settled`, the others move the same.
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
        """The result of a call of `op`, without its namespace, on `values`, of which `data` derive from the input."""
        asks = question(op, values, data)
        if asks is None or (in_place and (asks.kind != LEVELS or not asks.ways)):
            return run(values)
        if self.settled:
            site = self.sites.get(key)
            if site is None:
                return run(values)
            if site.op != op:
                raise OtherCallsError(str(place()))
            return _changed(site.change, _Call(asks, op, values, data, run, in_place))[0]
        call = _Call(asks, op, values, data, run, in_place)
        site = self.sites[key] = Site(op, place(), asks)
        if asks.kind == OPAQUE:
            site.change = None if self._seed is None or key in self._left else SCALED[self._seed]
            return _changed(site.change, call)[0]
        site.seen = _counted(_asked(call))
        if self._seed is not None:
            if asks.kind == PLACES:
                site.change = Change("wrap")  # what was moved before it may point beyond the table
            if not site.met() and key not in self._left:
                draw = random.Random(f"{self._seed} {len(self.sites)}")
                site.change = _settled(call, draw) or site.change
        result, answers = _changed(site.change, call)
        if site.change is not None:
            site.seen = _counted(answers())
        return result

    @property
    def moves(self) -> bool:
        """Whether there is anything that it moves."""
        return any(site.change is not None and site.change != Change("wrap") for site in self.sites.values())


SCALED = {1: Change("move", 30.0, 0.3), 2: Change("move", 0.03, -0.3)}
"""In front of an operator of somebody's own, which may compare its samples with anything."""
SEEDS = tuple(SCALED)

Outputs = Mapping[str, Tensor]


def spread_out(run: Callable[[Spread], Outputs]) -> tuple[Spread, ...]:
    """The net watched as it is, then with its operands moved, as often as that answers more questions.

    run: one run of the whole net. What moves so much that an output is no number any more is left where it is.
    """
    plain = Spread()
    run(plain)
    found = [plain]
    for seed in SEEDS:
        if all(_met(site.question, counts) for site, counts in _together(found)):
            break
        moved = _finite(run, seed)
        if moved is not None:
            found.append(moved)
    for spread in found:
        spread.settled = True
    return tuple(found)


def _finite(run: Callable[[Spread], Outputs], seed: int) -> Spread | None:
    """Operands moved so that all outputs are finite, if need be all but one of them; None where nothing is moved."""
    first = Spread(seed)
    if _runs(run, first):
        return first if first.moves else None
    for key in [key for key, site in first.sites.items() if site.change is not None]:
        fewer = Spread(seed, left=frozenset({key}))
        if _runs(run, fewer) and fewer.moves:
            return fewer
    return None


def _runs(run: Callable[[Spread], Outputs], spread: Spread) -> bool:
    """Whether the net runs with its operands moved, and gives numbers: an index may point beyond a table."""
    try:
        return all(bool(y.isfinite().all()) for y in run(spread).values())
    except (RuntimeError, IndexError, ValueError):
        return False


def _together(runs: Iterable[Spread]) -> list[tuple[Site, dict[int, int]]]:
    """Each site of one net, with the answers of all its runs."""
    seen: dict[Hashable, tuple[Site, dict[int, int]]] = {}
    for run in runs:
        for key, site in run.sites.items():
            _, counts = seen.setdefault(key, (site, {}))
            for answer, n in site.seen.items():
                counts[answer] = counts.get(answer, 0) + n
    return list(seen.values())


def unanswered(runs: Iterable[Spread]) -> tuple[NotReached, ...]:
    """Where, and which way, no sample of any of these runs of one net came out."""
    found = (NotReached(*site.place, missing(site.question, counts)) for site, counts in _together(runs))
    return tuple(dict.fromkeys(place for place in found if place.missing))


@dataclass(frozen=True)
class _Call:
    asks: Question
    op: str
    values: Values
    data: Set[str]
    run: Callable[[Values], Any]
    in_place: bool

    @property
    def x(self) -> Tensor:
        return self.asks.of(self.values)

    def other(self) -> Any:
        """What the operand is compared with."""
        return self.values[self.asks.against] if self.asks.against else self.asks.levels[0]


def _asked(call: _Call) -> Tensor:
    """The answers as the call stands, on a copy of what it may write to."""
    asks = call.asks
    needs_result = asks.kind in (STEPS, LOGIC) or (asks.kind == LEVELS and len(asks.ways) < 3)
    return asks.answers(call.values, call.run(asks.replaced(call.values, call.x.clone())) if needs_result else call.x)


def _counted(answers: Tensor) -> dict[int, int]:
    flat = answers.flatten()
    found, counts = torch.unique(flat[flat == flat], return_counts=True)
    pairs = zip(found[:64].tolist(), counts[:64].tolist(), strict=True)
    return {int(a): int(n) for a, n in pairs if abs(a) < torch.inf}


def _changed(change: Change | None, call: _Call) -> tuple[Any, Callable[[], Tensor]]:
    """The result, and a function that counts the answers."""
    asks, values, x = call.asks, call.values, call.x
    if change is None:
        result = call.run(values)
        return result, lambda: asks.answers(values, result)
    if call.in_place:
        kept = change.moved(x)
        x.copy_(kept)
        result = call.run(values)
        return result, lambda: asks.answers(asks.replaced(values, kept), kept)
    if change.how == "greater":
        found = _greater(call, change.moved(x))
        return found, lambda: found.to(torch.int64)
    if change.how in COMBINED:
        found = COMBINED[change.how](x, values["other" if asks.operand == "self" else "self"])
        return found, lambda: found.to(torch.int64)
    if change.how == "wrap":
        new: Tensor = (x * int(change.scale) + int(change.offset)).remainder(asks.size)
    elif change.how == "turn":
        new = x ^ (values[_reference(call)] > change.offset)
    else:
        new = change.moved(x)
    there = asks.replaced(values, new)
    result = call.run(there)
    return result, lambda: asks.answers(there, result)


COMBINED: dict[str, Callable[[Tensor, Any], Tensor]] = {
    "exclusive": lambda a, b: a ^ b,
    "one": lambda a, b: a | (b & ~b),
}
"""What stands for a combination of yes and no that always comes out the same."""


def _greater(call: _Call, x: Tensor) -> Tensor:
    if call.op == "isin":
        levels = torch.as_tensor(call.other(), device=x.device).flatten().sort().values
        return torch.bucketize(x.contiguous(), levels).remainder(2) == 1
    found: Tensor = x > call.other()
    return found


def _reference(call: _Call) -> str:
    """Data that the operator takes or leaves, by which its condition may be turned."""
    names = (name for name in ("self", "other") if name in call.data and name != call.asks.operand)
    return next((name for name in names if call.values[name].is_floating_point()), "")


# ---- where to move ----------------------------------------------------------------------------------------------


def _settled(call: _Call, draw: random.Random) -> Change | None:
    """What makes the call come out in more than one way; None where nothing does, its operand being the same
    everywhere, say."""
    asks, x = call.asks, call.x
    if asks.kind == CHOICE:
        reference = _reference(call)
        samples = _sorted(call.values[reference]) if reference else None
        return None if samples is None else Change("turn", offset=_between(samples, draw.uniform(0.4, 0.6)))
    if asks.kind == LOGIC:
        other = call.values["other" if asks.operand == "self" else "self"]
        for how, combine in COMBINED.items():
            if isinstance(other, Tensor) and _met(asks, _counted(combine(x, other).to(torch.int64))):
                return Change(how)
        return None
    samples = _sorted(x - call.other() if asks.against else x)
    if samples is None:
        return None
    if asks.kind == PLACES:
        step = next(k for k in (7, 5, 3, 11, 1) if k == 1 or asks.size % k)
        return Change("wrap", step, draw.randrange(asks.size))
    if asks.kind == STEPS:
        low, high = _between(samples, 0.1), _between(samples, 0.9)
        scale = STEPS_WIDE * asks.unit / max(high - low, 1e-300)
        return Change("move", scale, (0.37 - scale * float(samples[0]) / asks.unit) * asks.unit)
    how = "greater" if call.op in ALWAYS or call.op.startswith("is") else "move"
    low, high = _ends(asks)
    if low == high:
        cut, scale = _between(samples, draw.uniform(0.35, 0.65)), 1.0
        if not x.is_floating_point():
            up = call.op in ("gt", "le", "greater", "less_equal") or how == "greater"
            return Change(how, 1.0, float(round(low + (0.5 if up else -0.5) - cut)))
        wide = float(samples[-1] - samples[0])
        scale = max(1.0, abs(low) * 1e-3 / wide)  # or the samples would drown beside the threshold
        return Change(how, scale, low - scale * cut)
    first, last = _between(samples, draw.uniform(0.1, 0.25)), _between(samples, draw.uniform(0.75, 0.9))
    if last <= first:
        first, last = float(samples[0]), float(samples[-1])
    scale = (high - low) / (last - first)
    return Change(how, scale, low - scale * first)


ALWAYS = ("eq", "ne", "not_equal", "_to_copy", "to", "signbit")
"""Whether two numbers are equal comes out as no wherever one of them moves."""


def _ends(asks: Question) -> tuple[float, float]:
    """The lowest and the highest threshold."""
    if asks.against:
        return 0.0, 0.0
    ends = []
    for level in asks.levels:
        t = (
            (level if isinstance(level, Tensor) else torch.tensor(level, dtype=torch.float64))
            .to(torch.float64)
            .flatten()
        )
        t = t[t.isfinite()]
        ends += [float(t.min()), float(t.max())] if t.numel() else []
    return (min(ends), max(ends)) if ends else (0.0, 0.0)


def _sorted(x: Tensor) -> Tensor | None:
    """Different samples in order; None where there are none, or one."""
    flat = x.detach().flatten()
    flat = flat[:: -(-flat.numel() // MOST)].to(torch.float64)
    found = flat[flat.isfinite()].sort().values
    return found if found.numel() > 1 and bool(found[0] < found[-1]) else None


def _between(samples: Tensor, share: float) -> float:
    """A number between two samples, so that rounding decides nothing, of which about this share is smaller."""
    at = samples[int(share * (samples.numel() - 1))]
    above, below = samples[samples > at], samples[samples < at]
    return float((at + above[0]) / 2 if above.numel() else (at + below[-1]) / 2)
