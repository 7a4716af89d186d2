"""Digests of files, remembered as long as nothing says that a file changed.

A digest belongs to a device, an inode, a size and two times: that of the last change of content, which anybody can set,
and that of the last change of anything, which nobody can. An unchanged machine costs one `lstat` per file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from .places import installed

Mark = tuple[int, int, int, int, int]
"""Device, inode, size, and both times in nanoseconds: equal marks mean equal bytes."""
TICK = 20_000_000
"""Nanoseconds: clocks of file systems tick coarsely, so a file may change twice at the same time."""
COARSE = 2_000_000_000
"""Nanoseconds: some file systems keep times to two seconds. The digest of a younger file is not remembered."""
ODD = re.compile(r"//|/\.\.?(/|$)|/$")
PIECE = 1 << 22
ALOUD = 128 << 20
"""Reading more bytes than this is announced."""
EVERY = 2.0
"""Seconds: nothing stays silent for longer."""


class ChangedError(OSError):
    """A file changed while it was read."""


def mark_of(status: os.stat_result) -> Mark:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def absolute(path: str) -> str:
    """`os.path.abspath`, without work where there is nothing to do."""
    return path if path.startswith("/") and not ODD.search(path) else os.path.abspath(path)


def changed_at(mark: Mark) -> int:
    """When a file last changed, in nanoseconds; renaming it to this place is a change."""
    return max(mark[3], mark[4])


_known: dict[str, tuple[Mark, str]] = {}
"""Path without links -> its mark and digest, for the whole process."""


class Digests:
    """Digests of files, kept in a file from one process to the next."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._folders: dict[str, str] = {}
        self._met: dict[str, tuple[str, os.stat_result | None]] = {}
        self._read = False
        self._news = False

    def look_again(self) -> None:
        """From now on, ask the system again where paths lead and what lies there; except for packages, about which one
        check asks only once (see Seen)."""
        self._folders.clear()
        self._met = {path: known for path, known in self._met.items() if installed(path)}

    def real(self, path: str) -> tuple[str, os.stat_result | None]:
        """Where a path leads, with links followed, and what lies there; None where nothing does."""
        if path not in self._met:
            self._met[path] = self._real(path)
        return self._met[path]

    def _real(self, path: str) -> tuple[str, os.stat_result | None]:
        folder, _, name = absolute(path).rpartition("/")
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder or "/").rstrip("/")
        place = f"{self._folders[folder]}/{name}"
        try:
            status = os.lstat(place)
            if not stat.S_ISLNK(status.st_mode):
                return place, status
            place = os.path.realpath(place)
            return place, os.stat(place)
        except OSError:
            return os.path.realpath(path), None

    def of(self, path: str) -> str:
        """The digest of a file. Raises OSError; ChangedError where it was written meanwhile."""
        return self.remembered(path, _hashed)

    def remembered(self, path: str, made: Callable[[str], str]) -> str:
        """The result of `made` for a file or directory, remembered while that does not change. Raises as `of` does."""
        place, status = self.real(path)
        if status is None:
            raise FileNotFoundError(path)
        mark = mark_of(status)
        known = self._remembered(place)
        if known is not None and known[0] == mark:
            return known[1]
        started = time.time_ns()
        found = made(place)
        if mark_of(os.stat(place)) != mark:
            raise ChangedError(f"{path} was written while it was read")
        if os.name == "posix" and changed_at(mark) < started - COARSE:
            _known[place] = mark, found  # elsewhere the second time is that of creation, which proves nothing
            self._news = True
        return found

    def announce(self, paths: Iterable[str]) -> None:
        """Read what is not known yet. If that is a lot, say so on standard error, because it takes a while."""
        unknown = {}
        for path in paths:
            place, status = self.real(path)
            known = self._remembered(place)
            if status is not None and stat.S_ISREG(status.st_mode) and (known is None or known[0] != mark_of(status)):
                unknown[place] = status.st_size
        total, done, said = sum(unknown.values()), 0, time.monotonic()
        if total > ALOUD:
            files = f"{len(unknown)} imported files ({total >> 20} MiB)"
            _say(f"reading {files} once, so that unchanged models can be skipped")
        for place, size in unknown.items():
            if time.monotonic() - said > EVERY:
                said = time.monotonic()
                _say(f"{done >> 20} of {total >> 20} MiB are read")
            with contextlib.suppress(OSError):  # whoever asks for it will see the error
                self.of(place)
            done += size

    def save(self) -> None:
        """Write what this process knows; nothing, where the directory cannot be written to."""
        if not self._news:
            return
        text = json.dumps({place: [*mark, digest] for place, (mark, digest) in _known.items()})
        with contextlib.suppress(OSError):
            write_text(self._file, f"{digest_of_text(text)}\n{text}")
            self._news = False

    def _remembered(self, place: str) -> tuple[Mark, str] | None:
        if not self._read:
            self._read = True
            for name, known in _loaded(self._file).items():
                _known.setdefault(name, known)
        return _known.get(place)


def _hashed(place: str) -> str:
    found = hashlib.sha256()
    with open(place, "rb", buffering=0) as file:
        while piece := file.read(PIECE):
            found.update(piece)
    return found.hexdigest()


def _loaded(file: Path) -> Mapping[str, tuple[Mark, str]]:
    try:
        digest, _, text = file.read_text(encoding="utf-8").partition("\n")
        if digest != digest_of_text(text):
            return {}
        return {place: ((a, b, c, d, e), found) for place, (a, b, c, d, e, found) in json.loads(text).items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}  # absent or damaged


def _say(text: str) -> None:
    print(f"overlapcalc: {text}", file=sys.stderr, flush=True)


def digest_of(content: Any) -> str:
    """The digest of plain data."""
    return digest_of_text(json.dumps(content, sort_keys=True))


def digest_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write_text(file: Path, text: str) -> None:
    """Write a file that appears when it is complete. A directory that is created for it is hidden from git; one that
    existed may hold more than our files."""
    if not file.parent.is_dir():
        file.parent.mkdir(parents=True)
        (file.parent / ".gitignore").write_text("*\n", encoding="utf-8")
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=".")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
        os.replace(temporary, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
