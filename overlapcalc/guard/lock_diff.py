"""A lock compared with what is needed now, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .requirements import Figure, PairAxis, Requirements

MOST_LAYERS = 4


@dataclass(frozen=True)
class Change:
    """One figure that differs from the lock; None: it was not there, or no longer is.

    where: "W", "output0 of input1 along W", "" for the net. axes: those along which it changed in the same way.
    """

    figure: str
    where: str
    before: Figure | None
    after: Figure | None

    def __str__(self) -> str:
        place = f" on {self.where}" if self.where else ""
        if self.before is None:
            return f"{self.figure} is new{place}: {_said(self.after)}"
        if self.after is None:
            return f"{self.figure} is no longer there{place}; it was {_said(self.before)}"
        before, after = _said(self.before), _said(self.after)
        if before == after:  # of another type, in a lock that was edited
            before, after = repr(self.before), repr(self.after)
        return f"{self.figure} went from {before} to {after}{place}"


def _said(value: Figure | None) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


@dataclass(frozen=True)
class LayerChange:
    """A layer whose figures differ: `g_a.3` kernel 5 to 7."""

    layer: str
    what: str

    def __str__(self) -> str:
        return f"`{self.layer}` {self.what}"


@dataclass(frozen=True)
class Comparison:
    """What a model needs, compared with its lock. `same`: it needs what it needed, whatever its layers are called."""

    changes: tuple[Change, ...]
    layers: tuple[LayerChange, ...]

    @property
    def same(self) -> bool:
        return not self.changes

    @property
    def blamed(self) -> str:
        """The layers that changed, in a few words."""
        if not self.layers:
            return "no layer's figures changed"
        rest = len(self.layers) - MOST_LAYERS
        return "; ".join(map(str, self.layers[:MOST_LAYERS])) + (f" and {rest} more" if rest > 0 else "")

    def __str__(self) -> str:
        return "; ".join(map(str, self.changes)) + f": {self.blamed}"


def compare(locked: Requirements, now: Requirements) -> Comparison:
    """What changed since the lock was written."""
    changes = [Change(name, "", a, b) for name, a, b in _differing(locked.net, now.net)]
    grouped: dict[tuple[str, Figure | None, Figure | None], list[PairAxis]] = {}
    for place in sorted({*locked.places, *now.places}):
        for name, a, b in _differing(locked.places.get(place, {}), now.places.get(place, {})):
            grouped.setdefault((name, a, b), []).append(place)
    for (name, a, b), places in grouped.items():
        changes.append(Change(name, _where(places), a, b))
    layers = [
        LayerChange(layer, _layer_words(locked.layers.get(layer), now.layers.get(layer)))
        for layer in dict.fromkeys((*now.layers, *locked.layers))
        if locked.layers.get(layer) != now.layers.get(layer)
    ]
    return Comparison(tuple(changes), tuple(layers))


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """The figures that differ. Equal numbers of different types, such as 1 and true, do."""
    return [
        (n, a.get(n), b.get(n)) for n in sorted({*a, *b}) if (type(a.get(n)), a.get(n)) != (type(b.get(n)), b.get(n))
    ]


def _where(places: list[PairAxis]) -> str:
    """`H and W`; the pair is named if it is one of several."""
    axes: dict[str, list[str]] = {}
    for output, input, axis in places:
        pair = "" if (output, input) == ("output", "input") else f" of {output} against {input}"
        axes.setdefault(pair, []).append(axis)
    return ", ".join(" and ".join(names) + pair for pair, names in axes.items())


def _layer_words(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    if before is None:
        return f"is new ({_call(after or {})})"
    if after is None:
        return f"is gone (it was {_call(before)})"
    parts = []
    for name in dict.fromkeys((*before, *after)):
        a, b = before.get(name), after.get(name)
        if a != b:
            parts.append(f"{name} {'default' if a is None else _plain(a)} to {'default' if b is None else _plain(b)}")
    return ", ".join(parts)


def _call(figures: Mapping[str, Any]) -> str:
    rest = ", ".join(f"{name} {_plain(value)}" for name, value in figures.items() if name != "op")
    return " ".join(part for part in (str(figures.get("op", "")), rest) if part)


def _plain(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)
