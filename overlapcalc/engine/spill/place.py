"""The folder for spilled tensors: on a disk, because what lies in memory would not be spilled."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ...errors import Argument, InputError

MOUNTS = Path("/proc/self/mountinfo")
"""Linux only; elsewhere nothing is known about mounts."""
IN_MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs"})
VAR_TMP = "/var/tmp"
"""For files that a reboot leaves in place: not in memory, by the Filesystem Hierarchy Standard 3.0, 5.15."""


def spill_folder(folder: Path | None) -> Path:
    """The folder that the caller names, or one of the system's that is on a disk: $TMPDIR, /var/tmp, the system's
    temporary folder, the current one. Raises InputError.

    A named folder may be in memory: the caller asked for it.
    """
    if folder is not None:
        _check(folder)
        return folder.absolute()
    memory = memory_devices()
    tried = list(dict.fromkeys(_temporary() if memory is None else _usual()))
    for place in tried:
        if _writable(place) and (memory is None or _device(place) not in memory):
            return Path(place).absolute()
    raise InputError(
        f"there is no place for the spill file: none of {', '.join(tried)} can be written and is on a disk; "
        "name a folder with ",
        Argument("spill"),
    )


def memory_devices() -> frozenset[int] | None:
    """The devices whose files are in memory, as `st_dev` has them; None where the system does not say.

    By its device and not by its name, because one mount may hide another one.
    """
    try:
        lines = MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    found = set()
    for line in lines:
        mount, _, source = line.partition(" - ")  # proc(5): optional fields end with a single hyphen
        if source.partition(" ")[0] in IN_MEMORY:
            major, _, minor = mount.split()[2].partition(":")
            found.add(os.makedev(int(major), int(minor)))
    return frozenset(found)


def _usual() -> Iterator[str]:
    if os.environ.get("TMPDIR"):
        yield os.environ["TMPDIR"]
    yield VAR_TMP
    yield from _temporary()
    try:
        yield os.getcwd()
    except OSError:  # it was removed
        return


def _temporary() -> Iterator[str]:
    try:
        yield tempfile.gettempdir()
    except OSError:  # none can be written
        return


def _device(folder: str) -> int:
    return os.stat(folder).st_dev


def _writable(folder: str | Path) -> bool:
    return os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)


def _check(folder: Path) -> None:
    given = Argument("spill", folder)
    if not os.path.lexists(folder):
        raise InputError(given, ": there is no such folder; create it, or name another place")
    if not os.path.isdir(folder):
        raise InputError(given, ": it is not a folder; name one")
    if not _writable(folder):
        raise InputError(given, ": nothing can be written there; name another place")
