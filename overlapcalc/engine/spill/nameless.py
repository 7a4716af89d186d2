"""A file without a name: the system frees its room however the process ends."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
from pathlib import Path
from typing import IO

PREFIX = ".overlapcalc-spill-"
LEFTOVER = re.compile(re.escape(PREFIX) + r"[a-z0-9_]{8}")
"""The names that mkstemp makes of our prefix."""


def nameless(folder: Path) -> IO[bytes]:
    """An empty file in `folder`, which no folder lists. Raises OSError.

    Where the system cannot create one (NFS, for one), it has a name for an instant. A process that is killed in this
    instant leaves it there, empty, for the next one to remove.
    """
    if os.name == "nt":  # an open file keeps its name; the system removes it with the last handle
        return tempfile.TemporaryFile(dir=folder, prefix=PREFIX, buffering=0)
    clear_leftovers(folder)
    handle = _never_named(folder)
    return os.fdopen(_unnamed(folder) if handle is None else handle, "r+b", buffering=0)


def _never_named(folder: Path) -> int | None:
    if not hasattr(os, "O_TMPFILE"):
        return None
    try:  # O_EXCL: it cannot be given a name later
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o600)
    except OSError:  # EOPNOTSUPP, EISDIR, ENOENT, EINVAL, by file system; what else is wrong shows in the next attempt
        return None


def _unnamed(folder: Path) -> int:
    handle, name = tempfile.mkstemp(dir=folder, prefix=PREFIX)
    try:
        os.unlink(name)
    except FileNotFoundError:
        pass  # another process removed it as a leftover, which is as good
    except OSError:
        os.close(handle)
        raise
    return handle


def clear_leftovers(folder: Path) -> None:
    """Remove the names that killed processes left in `folder`.

    No lock tells the dead from the living, and none is needed: a file is empty as long as it has a name, and whoever
    made it is about to remove that name. So nothing is lost, whoever removes it.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if LEFTOVER.fullmatch(entry.name):
                with contextlib.suppress(OSError):  # somebody else was faster
                    _clear(entry)


def _clear(entry: os.DirEntry[str]) -> None:
    found = entry.stat(follow_symlinks=False)
    if stat.S_ISREG(found.st_mode) and found.st_size == 0 and found.st_uid == os.geteuid():
        os.unlink(entry.path)
