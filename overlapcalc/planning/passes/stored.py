"""What passes store between them, and which of it is kept in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Stored:
    """A tensor that a later pass reads.

    name: its node. layer: the layer that computes it. sizes: those of its parts, of which `at` is the one that comes in
    bands. dtype: its type; own: it follows the type of the inputs. nbytes. first, last: the passes that write it and
    read it last. kept: in memory; else on disk. whole: it is needed whole at once.
    """

    name: str
    layer: str
    sizes: tuple[int, ...]
    at: int
    dtype: str
    own: bool
    nbytes: int
    first: int
    last: int
    kept: bool
    whole: bool

    def to_dict(self) -> dict[str, Any]:
        return {
            "layer": self.layer,
            "bytes": self.nbytes,
            "dtype": self.dtype,
            "written_by": self.first,
            "last_read_by": self.last,
            "held_in": "memory" if self.kept else "file",
        }


def kept_within(stored: Iterable[Stored], taken: Sequence[int], budget: int | None) -> frozenset[str]:
    """The names of those that are kept in memory: all that are needed whole, and as many more as a budget allows.

    taken: what each pass takes beside what is stored. budget: bytes for both; None: no more than necessary. Those that
    wait for the shortest time come first, because they take the least memory for each byte that is not written.
    """
    tensors = list(stored)
    left = [0 if budget is None else budget - n for n in taken]
    chosen = set()
    for one in sorted(tensors, key=lambda t: (not t.whole, t.last - t.first, t.nbytes)):
        passes = range(one.first, one.last + 1)
        if one.whole or all(left[p] >= one.nbytes for p in passes):
            chosen.add(one.name)
            for p in passes:
                left[p] -= one.nbytes
    return frozenset(chosen)
