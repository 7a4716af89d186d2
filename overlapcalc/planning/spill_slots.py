"""Where in one file the tensors lie that later passes read: a place is used again after the last pass that reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

PAGE = 4096
"""Slots begin and end at multiples of this many bytes, so that no two of them share a page of the file."""


@dataclass(frozen=True)
class SlotRequest:
    """Room for a tensor that is written from pass `first` on and read for the last time in pass `last`.

    Raises ValueError for one that is read before it is written, or of a negative size.
    """

    name: str
    nbytes: int
    first: int
    last: int

    def __post_init__(self) -> None:
        if self.nbytes < 0 or self.last < self.first:
            raise ValueError(f"no slot for {self.name}: {self.nbytes} bytes in passes {self.first} to {self.last}")

    @property
    def room(self) -> int:
        """Its bytes in whole pages."""
        return -(-self.nbytes // PAGE) * PAGE

    def meets(self, other: SlotRequest) -> bool:
        """Whether some pass needs both."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Slots:
    """The offset of each tensor in the file, and the size of the file. Tensors that some pass needs both do not
    overlap."""

    offsets: Mapping[str, int]
    size: int


def packed(requests: Sequence[SlotRequest]) -> Slots:
    """Slots in a short file. Raises ValueError for a name that comes twice.

    The shortest file is hard to find, so two orders are tried, largest first: one after another, the tensors take the
    lowest place that is free while they live, as in TensorFlow Lite's arena (greedy_by_size).

    >>> packed([SlotRequest("a", 8192, 0, 1), SlotRequest("b", 100, 1, 2), SlotRequest("c", 8192, 2, 3)])
    Slots(offsets={'a': 0, 'c': 0, 'b': 8192}, size=12288)
    """
    names = [request.name for request in requests]
    if len(set(names)) < len(names):
        raise ValueError(f"slots for {', '.join(sorted(n for n in set(names) if names.count(n) > 1))} twice")
    return min((_placed(sorted(requests, key=order)) for order in ORDERS), key=lambda slots: slots.size)


ORDERS: tuple[Callable[[SlotRequest], tuple[int, ...]], ...] = (
    lambda r: (-r.room, r.first),
    lambda r: (-r.room * (r.last - r.first + 1), r.first),
)
"""By size, and by size times passes; what is equal, by the first pass, which is best where all have one size."""


def _placed(requests: Iterable[SlotRequest]) -> Slots:
    done: list[tuple[int, SlotRequest]] = []
    for request in requests:
        others = sorted((at, at + other.room) for at, other in done if other.meets(request))
        done.append((_lowest(others, request.room), request))
    return Slots(
        {request.name: at for at, request in done}, max((at + request.room for at, request in done), default=0)
    )


def _lowest(taken: Iterable[tuple[int, int]], room: int) -> int:
    """The begin of the first gap of that size. taken: begins and ends, sorted; they may overlap."""
    free = 0
    for begins, ends in taken:
        if begins - free >= room:
            break
        free = max(free, ends)
    return free
