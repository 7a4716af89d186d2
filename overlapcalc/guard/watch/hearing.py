"""Listening: what Python audits and what goes through the doors is passed on to whoever watches."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from .callers import INSTALLED, OURS, PROJECT, TORCH, caller
from .doors import place_of, watched
from .quiet import busy, unheard
from .reads import Seen

UNSEEN = frozenset({
    "subprocess.Popen", "os.system", "os.posix_spawn", "os.spawn", "os.exec", "os.fork", "os.forkpty", "pty.spawn",
    "os.startfile", "socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname",
    "socket.gethostbyaddr", "socket.gethostname", "urllib.Request", "sqlite3.connect", "ctypes.dlsym",
    "ctypes.dlsym/handle", "builtins.input", "os.getxattr", "os.listxattr",
})  # fmt: skip
"""Audit events of asking someone who reads what we do not see, or who answers what no file holds."""
LISTING = frozenset({"os.listdir", "os.scandir"})
HEARD = UNSEEN | LISTING | {"open", "ctypes.dlopen"}
OF_NO_MODEL = frozenset({"cwd"})
"""What torch asks for, only to build file names."""
_watching: list[Seen] = []


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    """Python's audit hook. It does nothing while nobody watches, and ignores what it does itself.

    The cheapest question comes first: Python audits every call of `id`, and torch calls it all the time.
    """
    if event not in HEARD or not _watching or busy.now:
        return
    if event == "open":
        path, _, flags = arguments
        if type(path) is int and path == 0:
            _note("unseen", "standard input", depth=2)
        if not (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_TRUNC | os.O_EXCL)):  # it is created afresh
            _note("file", path, depth=2)
    elif event in LISTING:
        _note("list", _listed(arguments[0]), depth=2)
    elif event == "ctypes.dlopen":
        _note("file", arguments[0], depth=2)
    else:
        _note("unseen", event, depth=2)


def _listed(directory: Any) -> Any:
    """The path of a listed directory, which may be given as an open handle."""
    return place_of(directory) if isinstance(directory, int) else directory or "."


def _note(kind: str, name: Any, *, depth: int = 2) -> None:
    if not _watching or busy.now or not isinstance(name, (str, bytes)):
        return
    with unheard():
        _noted(kind, os.fsdecode(name), sys._getframe(depth))


def _noted(kind: str, name: str, frame: FrameType) -> None:
    who = caller(frame)
    if who.lines or (who.finder and kind != "file" and kind != "unseen") or (who.nearest == OURS and kind != "file"):
        return
    of_system = name.startswith(("/proc/", "/sys/", "/dev/"))
    if (who.nearest == TORCH and (kind in OF_NO_MODEL or of_system)) or (who.nearest == OURS and of_system):
        return
    if kind == "unseen" and name.startswith("ctypes") and who.nearest not in (PROJECT, INSTALLED):
        return
    _watching[-1].note(kind, name, shared=who.shared)


_listening = False


def _listen() -> None:
    """Install the audit hook, once: Python does not allow removing one."""
    global _listening
    if not _listening:
        sys.addaudithook(_heard)
        _listening = True


@contextlib.contextmanager
def watching(base: Path) -> Iterator[Seen]:
    """Watches what is read inside, on behalf of a model that is configured in `base`."""
    _listen()
    seen = Seen(base)
    with watched(_note):
        _watching.append(seen)
        try:
            yield seen
        finally:
            _watching.remove(seen)
