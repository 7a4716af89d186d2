"""Things that take long to make, of which the last few are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")
KEPT = 4


def recent(kept: dict[K, V], key: K, make: Callable[[], V]) -> V:
    """The value of a key: a kept one, or a new one, which takes the place of the one that was not used for longest."""
    found = kept.pop(key) if key in kept else make()
    kept[key] = found
    while len(kept) > KEPT:
        del kept[next(iter(kept))]
    return found
