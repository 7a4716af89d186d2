"""The file behind an address: two mappings of one file are one memory at two addresses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAPS = Path("/proc/self/maps")
"""Linux only; elsewhere nothing is known about mappings."""


@dataclass(frozen=True)
class Piece:
    """Mapped bytes [start, stop) of a file or of shared memory. shared: writing to them writes to the file.

    path: that of the file; None where it no longer has a name.
    """

    file: tuple[str, str]
    start: int
    stop: int
    shared: bool
    path: Path | None

    def meets(self, other: Piece) -> bool:
        return self.file == other.file and self.start < other.stop and other.start < self.stop


def pieces(start: int, stop: int) -> Iterator[Piece]:
    """The parts of files that are mapped to addresses [start, stop)."""
    try:
        lines = MAPS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        place, rights, offset, device, inode, *name = line.split(maxsplit=5)
        first, _, last = place.partition("-")
        low, high = max(int(first, 16), start), min(int(last, 16), stop)
        if inode == "0" or low >= high:
            continue
        begins = int(offset, 16) - int(first, 16)
        path = Path(name[0]) if name and not name[0].endswith(" (deleted)") else None
        if path is not None and not path.is_file():
            continue  # a device maps what it likes: offsets do not identify it
        yield Piece((device, inode), low + begins, high + begins, rights[3] == "s", path)
