"""The part of a plan that describes passes: what each reads, computes, stores and holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..costs import Work
from .stored import Stored


@dataclass(frozen=True)
class PassPlan:
    """One pass. number: from 0. bands: how many. ends: the operators whose results it completes, as pairs (layer,
    operator). whole: those that run whole before it; swept: those that go to and fro over what is stored. reads,
    stores: layers whose tensors it reads from what is stored, and stores. again: layers that an earlier pass computed
    too. work: multiply-accumulates. memory: bytes at its fullest moment, without weights; memory_whole: the same while
    operators run whole. written, read: bytes to and from the disk.

    >>> net = nn.Sequential(nn.Conv1d(16, 2, 3, padding=1), nn.GroupNorm(1, 2))
    >>> plan = oc.plan(net, (1, 16, 64), schedule="passes")
    >>> [(one.ends, one.stores) for one in plan.passes.each]
    [((('1', 'aten::group_norm'),), ('0',)), ((), ())]
    """

    number: int
    bands: int
    ends: tuple[tuple[str, str], ...]
    whole: tuple[tuple[str, str], ...]
    reads: tuple[str, ...]
    stores: tuple[str, ...]
    again: tuple[str, ...]
    work: Work
    memory: int | None
    written: int
    read: int
    swept: tuple[tuple[str, str], ...] = ()
    memory_whole: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "pass": self.number,
            "bands": self.bands,
            "completes": [{"layer": layer, "op": op} for layer, op in self.ends],
            "whole": [{"layer": layer, "op": op} for layer, op in self.whole],
            "to_and_fro": [{"layer": layer, "op": op} for layer, op in self.swept],
            "reads": list(self.reads),
            "stores": list(self.stores),
            "computes_again": list(self.again),
            "macs": self.work.macs,
            "kernel_macs": self.work.kernel_macs,
            "memory": self.memory,
            "memory_whole": self.memory_whole,
            "bytes_written": self.written,
            "bytes_read": self.read,
        }


@dataclass(frozen=True)
class PassesPlan:
    """All passes over an image. rows: the most samples of a band, of the longest tensor of its pass. stored: what later
    passes read. disk: bytes that are reserved on disk. spill: the folder for them, None for the system's. unparted:
    calls that run whole because they have no way to run on a band. again: nodes that every pass that reads them
    computes anew. images: all passes run for each of so many images of a batch, one after another."""

    rows: int
    each: tuple[PassPlan, ...]
    stored: tuple[Stored, ...]
    disk: int
    spill: str | None = None
    unparted: frozenset[str] = frozenset()
    again: frozenset[str] = frozenset()
    images: int = 1

    @property
    def whole(self) -> PassPlan | None:
        """The fullest pass, where what runs whole takes the most of it, or most of what it holds is needed whole."""
        one = max(self.each, key=lambda p: p.memory or 0)
        held = sum(t.nbytes for t in self.stored if t.whole and t.kept and t.first <= one.number <= t.last)
        takes = one.memory is not None and max(one.memory_whole, 2 * held) >= one.memory > 0
        return one if takes and (one.whole or held) else None

    @property
    def bands(self) -> int:
        """The bands of all passes together, for all images."""
        return self.images * sum(one.bands for one in self.each)

    @property
    def written(self) -> int:
        """Bytes that are written to the disk in all passes together, for all images."""
        return self.images * sum(one.written for one in self.each)

    def to_dict(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "images": self.images,
            "passes": [one.to_dict() for one in self.each],
            "stored": [one.to_dict() for one in self.stored],
            "disk": self.disk,
            "bytes_written": self.written,
            "bytes_read": self.images * sum(one.read for one in self.each),
        }


def traffic(stored: Iterable[Stored], readers: Iterable[tuple[int, str]]) -> tuple[dict[int, int], dict[int, int]]:
    """Bytes written to, and read from, the disk by each pass. readers: passes, and what they read."""
    on_disk = {one.name: one for one in stored if not one.kept}
    written: dict[int, int] = {}
    read: dict[int, int] = {}
    for one in on_disk.values():
        written[one.first] = written.get(one.first, 0) + one.nbytes
    for number, name in readers:
        if name in on_disk:
            read[number] = read.get(number, 0) + on_disk[name].nbytes
    return written, read
