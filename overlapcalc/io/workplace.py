"""Where a file is created before it appears: a hidden folder beside its place, marked as ours, removed if we die.

A run that is killed cannot clean up. So a working folder holds a note about its owner, which stays locked as long as
the owner lives: the system releases the lock however a process ends. Whoever creates the next working folder removes
those beside it whose lock is free. A folder that is not recognised as ours, down to the last entry, is left alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: nothing is locked, so nothing is recognised as left over
    fcntl = None

PREFIX = ".overlapcalc-"
OWNER, RESULT, OLD = "owner", "result", "old"
"""The entries of a working folder: the note, the new file (with any suffix), and the old file that it replaces."""
BOOT = Path("/proc/sys/kernel/random/boot_id")


@contextlib.contextmanager
def workplace(place: Path) -> Iterator[Path]:
    """An empty folder in which to create `place`, on the same file system; removed in the end. Raises OSError."""
    clear_leftovers(place.parent)
    work = Path(tempfile.mkdtemp(dir=place.parent, prefix=PREFIX))
    try:
        with _owned(work, place.name):
            yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def _owned(work: Path, name: str) -> Iterator[None]:
    """Locks the note before it appears: a note without a lock is one whose owner is dead."""
    handle = os.open(work / OWNER, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a file system without locks: what is left there stays
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.write(handle, json.dumps({"made by": "overlapcalc", "for": name, **_machine()}).encode())
        yield
    finally:
        os.close(handle)


def _machine() -> dict[str, str]:
    """This machine, on which locks are valid: by its boot, or after a reboot by its name."""
    try:
        boot = BOOT.read_text().strip()
    except OSError:
        boot = ""
    return {"host": socket.gethostname(), "boot": boot}


def clear_leftovers(folder: Path) -> None:
    """Remove the working folders in `folder` whose owners are dead."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        left = [Path(e.path) for e in entries if e.name.startswith(PREFIX) and e.is_dir(follow_symlinks=False)]
        for work in left:
            with contextlib.suppress(OSError, ValueError):  # it is not as we leave them, or somebody else was faster
                _clear(work)


def _clear(work: Path) -> None:
    assert fcntl is not None
    handle = os.open(work / OWNER, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        note = json.loads(os.read(handle, 4096))
        if not _is_ours(note) or os.fstat(handle).st_uid != os.geteuid():
            return
        made = [name for name in os.listdir(work) if name not in (OWNER, OLD)]
        if any(not name.startswith(RESULT) for name in made):
            return
        old, place = work / OLD, work.parent / note["for"]
        if old.exists() and made:  # killed between two renames: the old file goes back
            if os.path.lexists(place):
                return
            os.rename(old, place)
        shutil.rmtree(work)
    finally:
        os.close(handle)


def _is_ours(note: object) -> bool:
    if not isinstance(note, dict) or note.get("made by") != "overlapcalc":
        return False
    name, here = note.get("for"), _machine()
    known = isinstance(name, str) and Path(name).name == name != ""
    return known and any(note.get(key) == value != "" for key, value in here.items())
