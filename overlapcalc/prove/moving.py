"""How the operand of one call is moved, and which answers its samples then get."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .questions import ABOVE, BETWEEN, CHOICE, FIRST, LEVELS, LOGIC, OPAQUE, PLACES, STEPS, Question, Values

MOST = 1 << 16
"""At most this many samples of an operand are inspected to decide where to move it."""
STEPS_WIDE = 8
SHARE = 16
"""An answer counts as met if one sample in this many got it, shared among the answers."""


@dataclass(frozen=True)
class Change:
    """x -> scale * x + offset; how: "move" the operand, or what to ask instead where no move would help. each: what to
    subtract at each index of a dimension."""

    how: str
    scale: float = 1.0
    offset: float = 0.0
    each: tuple[float, ...] = ()

    def moved(self, x: Tensor) -> Tensor:
        if x.is_floating_point():
            return x * self.scale + self.offset
        return (x.to(torch.float64) * self.scale + self.offset).floor().to(x.dtype)


def met(question: Question, seen: Mapping[int, int]) -> bool:
    if question.kind == OPAQUE:
        return False
    total, wanted = sum(seen.values()), question.asked_for()
    if question.ways:
        enough = max(1, total // (SHARE * wanted))
        return all(seen.get(i, 0) >= enough for i in question.needed or range(wanted))
    return len(seen) >= min(wanted, total)


@dataclass(frozen=True)
class AskedCall:
    asks: Question
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


def asked(call: AskedCall) -> Tensor:
    """The answers of the unchanged call, on a copy of what it may write to."""
    asks = call.asks
    needs_result = asks.kind in (STEPS, LOGIC) or (asks.kind == LEVELS and len(asks.ways) < 3)
    return asks.answers(call.values, call.run(asks.replaced(call.values, call.x.clone())) if needs_result else call.x)


def counted(answers: Tensor) -> dict[int, int]:
    flat = answers.flatten()
    found, counts = torch.unique(flat[flat == flat], return_counts=True)
    pairs = zip(found[:64].tolist(), counts[:64].tolist(), strict=True)
    return {int(a): int(n) for a, n in pairs if abs(a) < torch.inf}


def changed(change: Change | None, call: AskedCall) -> tuple[Any, Callable[[], Tensor]]:
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
    if change.how in (ABOVE, BETWEEN):
        found = _above(call, change.moved(x))
        return found, lambda: found.to(torch.int64)
    if change.how in COMBINED:
        found = COMBINED[change.how](x, values["other" if asks.operand == "self" else "self"])
        return found, lambda: found.to(torch.int64)
    if change.how == "wrap":
        new: Tensor = (x * int(change.scale) + int(change.offset)).remainder(asks.size)
    elif change.how == "level":
        new = _levelled(x, asks.dim, change.each)
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
"""Replacements for a combination of booleans that always comes out the same."""


def _above(call: AskedCall, x: Tensor) -> Tensor:
    """Whether samples lie above the level, or in every second gap between the levels."""
    if call.asks.instead == BETWEEN:
        levels = torch.as_tensor(call.other(), device=x.device).flatten().sort().values
        return torch.bucketize(x.contiguous(), levels).remainder(2) == 1
    found: Tensor = x > call.other()
    return found


def _reference(call: AskedCall) -> str:
    """The data that the operator selects, by which its condition may be flipped."""
    names = (name for name in ("self", "other") if name in call.data and name != call.asks.operand)
    return next((name for name in names if call.values[name].is_floating_point()), "")


def _levelled(x: Tensor, dim: int, each: tuple[float, ...]) -> Tensor:
    if x.shape[dim] != len(each):
        return x  # an axis of the image
    off = torch.tensor(each, dtype=x.dtype, device=x.device)
    return x - off.reshape([-1 if d == dim % x.dim() else 1 for d in range(x.dim())])


# ---- where to move ----------------------------------------------------------------------------------------------


def settled(call: AskedCall, draw: random.Random) -> Change | None:
    """A change that gives more than one answer; None where none does, for example because the operand is the same
    everywhere."""
    asks, x = call.asks, call.x
    if asks.kind == CHOICE:
        reference = _reference(call)
        samples = _sorted(call.values[reference]) if reference else None
        return None if samples is None else Change("turn", offset=_between(samples, draw.uniform(0.4, 0.6)))
    if asks.kind == FIRST:
        if x.numel() == x.shape[asks.dim]:
            return None  # one position: moved by its own samples, all would be equal
        rows = x.detach().movedim(asks.dim, 0).flatten(1).to(torch.float64)
        means = rows.nan_to_num().mean(1)
        return Change("level", each=tuple(means.tolist())) if rows.shape[0] <= MOST else None
    if asks.kind == LOGIC:
        other = call.values["other" if asks.operand == "self" else "self"]
        for how, combine in COMBINED.items():
            if isinstance(other, Tensor) and met(asks, counted(combine(x, other).to(torch.int64))):
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
    how = asks.instead or "move"
    low, high = _ends(asks)
    if low == high:
        cut, scale = _between(samples, draw.uniform(0.35, 0.65)), 1.0
        if not x.is_floating_point():
            up = asks.below or asks.instead
            return Change(how, 1.0, float(round(low + (0.5 if up else -0.5) - cut)))
        wide = float(samples[-1] - samples[0])
        scale = max(1.0, abs(low) * 1e-3 / wide)  # or rounding would swallow the samples beside the threshold
        return Change(how, scale, low - scale * cut)
    first, last = _between(samples, draw.uniform(0.1, 0.25)), _between(samples, draw.uniform(0.75, 0.9))
    if last <= first:
        first, last = float(samples[0]), float(samples[-1])
    scale = (high - low) / (last - first)
    return Change(how, scale, low - scale * first)


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
    """The distinct samples in order; None where there is at most one."""
    flat = x.detach().flatten()
    flat = flat[:: -(-flat.numel() // MOST)].to(torch.float64)
    found = flat[flat.isfinite()].sort().values
    return found if found.numel() > 1 and bool(found[0] < found[-1]) else None


def _between(samples: Tensor, share: float) -> float:
    """A number between two samples, so that rounding decides nothing, with about this share of samples below it."""
    at = samples[int(share * (samples.numel() - 1))]
    above, below = samples[samples > at], samples[samples < at]
    return float((at + above[0]) / 2 if above.numel() else (at + below[-1]) / 2)
