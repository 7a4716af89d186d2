"""What is read while a model is loaded, traced and judged; and whether anything may have been read unseen.

Python says what it opens, lists and starts. Other doors are watched (doors.py), and native code that opens files by
itself is recognised (natives.py). What is already there counts by what is loaded: every module of the process, and
every library.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from . import natives
from .bytecode import other_bytecode, source_of
from .callers import INSTALLED, OURS, PROJECT, TORCH, caller
from .digests import TICK, Digests, Mark, changed_at, mark_of
from .doors import watched
from .isolation import installed
from .pins import Pins, pinned

UNPINNED = tuple(
    word.encode()
    for word in (
        "environ", "getenv", "listdir(", "scandir(", "iterdir(", "glob(", "walk(", "exists(", "is_file(", "is_dir(",
        "isfile(", "isdir(", "access(", "expandvars", "expanduser(", ".home(", "stat(", "getsize", "readlink", "argv",
        "parse_args", "getattr(os", "getattr(sys", "exec(", "sqlite3", "from_file", "get_num_threads", "cpu_count",
        "uname", "gethostname", "mmap", "socket", "urllib", "requests", "time()", "time_ns()", "datetime",
        "safetensors", "h5py", "imread", "read_image", "read_file", "jit.load", "jit import", "ctypes", "load_library",
        "BaseSettings", "omegaconf", "hydra", "getcwd", ".cwd()", "chdir", "posix.", "from posix", "dir_fd", "mtime",
        "shared_memory", "cffi", "dbm", "shelve", "sysconf", "orig_argv",
    )
)  # fmt: skip
"""What a source says that asks for what no open file holds, or opens one past Python. Most of it is watched, too."""
UNSEEN = frozenset({
    "subprocess.Popen", "os.system", "os.posix_spawn", "os.spawn", "os.exec", "os.fork", "os.forkpty", "pty.spawn",
    "os.startfile", "socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname",
    "socket.gethostbyaddr", "socket.gethostname", "urllib.Request", "sqlite3.connect", "ctypes.dlsym",
    "ctypes.dlsym/handle", "builtins.input",
})  # fmt: skip
"""What Python audits when somebody is asked who reads what we do not see, or answers what no file holds."""
LISTING = frozenset({"os.listdir", "os.scandir"})

OF_NO_MODEL = frozenset({"cwd"})
"""What torch asks for and makes nothing of but names of files."""


def _process_start() -> int:
    """When this process started, in nanoseconds; when this module was loaded where the system does not say."""
    now = time.time_ns()
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        running = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        return now - int(running * 1e9) - TICK
    except (OSError, ValueError, IndexError, AttributeError):
        return now


START = _process_start()
_ever: dict[str, Mark | None] = {}
"""Files that were opened while any model was looked at, as they were then: packages are imported once."""


class Asked:
    """What was asked for, by kinds of pins."""

    def __init__(self) -> None:
        self.names: dict[str, set[str]] = {}

    def add(self, kind: str, name: str) -> None:
        self.names.setdefault(kind, set()).add(name)


_shared = Asked()
"""What installed packages asked for: it may be in their memory, so it counts for every model."""


class UnseenError(Exception):
    """Something may have been read that cannot be pinned."""


class Seen:
    """What was asked for on behalf of one model."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._here = os.getcwd()
        self._environment = dict(os.environ)
        self._since = time.time_ns() - TICK
        self._asked = Asked()
        self._marks: dict[str, Mark | None] = {}
        self._before = natives.loaded(), natives.mapped() | _open_files()
        self._parts: tuple[Asked, dict[str, str]] | None = None
        self.unseen = ""

    def opened(self, path: str) -> None:
        """A file is opened, or looked for in vain."""
        self.note("file", path, self._asked)

    def note(self, kind: str, name: str, into: Asked) -> None:
        """A relative path stays one: from another working directory it leads to another file."""
        if kind == "unseen":
            self.refuse(name)
            return
        if kind in ("file", "look", "list") and not os.path.isabs(name) and os.getcwd() != self._here:
            name = os.path.abspath(name)
        into.add(kind, name)
        for place in {name, source_of(name)} if kind == "file" else ():
            place = os.path.abspath(place)
            if place not in self._marks:
                self._marks[place] = _young(place)
            _ever.setdefault(place, self._marks[place])

    def refuse(self, why: str) -> None:
        """Nothing is kept of this model: something may have been read unseen."""
        self.unseen = self.unseen or why

    def settle(self) -> None:
        """Note what is loaded, while the model's modules are still there, and whether anything may be unseen."""
        with _unheard():
            try:
                self._settle()
            except (UnseenError, OSError) as error:  # a file that is gone by now pins nothing
                self.refuse(str(error))

    def _settle(self) -> None:
        everything = Asked()
        for asked in (self._asked, _shared):
            for kind, names in asked.names.items():
                for name in names:
                    everything.add(kind, name)
        for file in _module_files():
            everything.add("file", file)
        for place in _searched():
            everything.add("modules", str(place))
            for link in sorted(place.glob("*.pth")) if place.is_dir() else ():
                everything.add("file", str(link))
        everything.add("modules", str(self._base))
        for file in self._natives():
            everything.add("file", file)
        for file in sorted(everything.names.pop("file", ())):
            for place in filter(None, (source_of(file), other_bytecode(file))):
                self._check(place)
                everything.add("file", place)
                if place.endswith(".py"):
                    everything.add("modules", os.path.dirname(os.path.abspath(place)))
        self._parts = everything, self._environment

    def _check(self, path: str) -> None:
        """Raises UnseenError where a file may not be what it was when it was read, or says more than its bytes."""
        place = os.path.abspath(path)
        now = _mark(place)
        first = self._marks.get(place, now)
        if first != now:
            raise UnseenError(f"{path} was written while it was read")
        if now is None:
            return
        own, known = not installed(place), _ever.get(place)
        if place not in self._marks or not own:
            if changed_at(now) >= START if known is None else known != now:
                raise UnseenError(f"{path} was written after it was loaded")
        if own and now[3] >= self._since:
            raise UnseenError(f"{path} was written while it was read")
        if own and place.endswith((".pyc", ".zip", ".egg", ".pyz")):
            raise UnseenError(f"{path} is no source, so what it asks for is not known")
        if own and place.endswith(".py"):
            said = next((word for word in UNPINNED if word in Path(place).read_bytes()), None)
            if said is not None:
                raise UnseenError(f"{path} says {said.decode()!r}, and what it asks for cannot be pinned")

    def _natives(self) -> set[str]:
        """The libraries of the process, and data that is mapped or open. Raises UnseenError."""
        before, data = self._before
        now = natives.loaded()
        if before is None or now is None:
            foreign = [file for file in natives.extensions() if not natives.trusted(file)]
            if foreign:
                raise UnseenError(f"{foreign[0]} may open files, and this system does not say")
            return set(natives.extensions())
        _loaded.update(now - before)
        gone = next((file for file in now if file.endswith(" (deleted)")), None)
        if gone is not None:
            raise UnseenError(f"{gone} was replaced while it was loaded")
        for file in now - before:
            _ever.setdefault(os.path.abspath(file), _mark(file))
            if (mark := _mark(file)) is not None and changed_at(mark) >= self._since:
                raise UnseenError(f"{file} was written while it was loaded")
        foreign = frozenset(file for file in now if not natives.trusted(file))
        asked_for = (foreign & _loaded) | natives.mentioned(foreign - _loaded, self._sources())
        free = natives.openers(asked_for, now)
        if free:
            raise UnseenError(f"{free[0]} opens files by itself")
        return set(now) | ((natives.mapped() | _open_files()) - data)

    def _sources(self) -> list[str]:
        """The modules that this model brought along."""
        return [place for place in self._marks if place.endswith(".py")]

    def files(self) -> frozenset[str]:
        """What is pinned by its bytes."""
        return frozenset() if self._parts is None else frozenset(self._parts[0].names.get("file", ()))

    def pinned(self, digests: Digests) -> Pins | None:
        """What all of it is now; None where that does not say all."""
        if self.unseen or self._parts is None:
            return None
        asked, environment = self._parts
        try:
            found = pinned(asked.names, digests, environment)
            for file in asked.names.get("file", ()):
                self._check(file)  # nothing changed while digests were made
        except (UnseenError, OSError) as error:
            self.refuse(str(error))
            return None
        return found


def _young(place: str) -> Mark | None:
    """The mark of a file that is about to be read. Where it was written just now, a little later: what is written
    after that has another time."""
    mark = _mark(place)
    while mark is not None and 0 <= time.time_ns() - changed_at(mark) < TICK:
        time.sleep(0.002)
        mark = _mark(place)
    return mark


def _mark(place: str) -> Mark | None:
    try:
        status = _stat(place)
        whole = not stat.S_ISDIR(status.st_mode)  # what is in a directory is asked for otherwise
        return mark_of(status) if whole else (status.st_dev, status.st_ino, 0, 0, 0)
    except (OSError, ValueError):
        return None


_stat = os.stat  # not the door that is watched
_readlink = os.readlink


def _open_files() -> frozenset[str]:
    """Files that are open now; none where the system does not say."""
    found = set()
    with contextlib.suppress(OSError):
        for handle in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                place = _readlink(f"/proc/self/fd/{handle}")
                if os.path.isfile(place):
                    found.add(place)
    return frozenset(found)


def _module_files() -> Iterator[str]:
    for name, module in list(sys.modules.items()):
        place = name != "__main__" and getattr(module, "__dict__", {}).get("__file__")
        if isinstance(place, str):
            place = os.path.abspath(place)
            inside = next((str(p) for p in Path(place).parents if p.is_file()), None)  # of a zip file
            yield inside or place


def _searched() -> list[Path]:
    """Where Python looks for modules."""
    return [Path(place).absolute() for place in sys.path]


_loaded: set[str] = set()
"""Libraries that models brought along."""
_watching: list[Seen] = []


class _Busy(threading.local):
    """Whether this thread is at work for the guard itself."""

    now = False


_busy = _Busy()


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """What we read ourselves is no matter of the model."""
    before, _busy.now = _busy.now, True
    try:
        yield
    finally:
        _busy.now = before


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    """Python's audit hook. It does nothing while nobody watches, and nothing for what it does itself."""
    if (
        not _watching
        or _busy.now
        or (event != "open" and event not in UNSEEN and event not in LISTING and event != "ctypes.dlopen")
    ):
        return
    if event == "open":
        path, _, flags = arguments
        made = isinstance(flags, int) and (flags & os.O_WRONLY or (flags & os.O_TRUNC) or (flags & os.O_EXCL))
        if not made:
            _note("file", path, depth=2)
    elif event in LISTING:
        _note("list", _listed(arguments[0]), depth=2)
    elif event == "ctypes.dlopen":
        _note("file", arguments[0], depth=2)
    else:
        _note("unseen", event, depth=2)


def _listed(directory: Any) -> Any:
    """The path of a directory that is listed, which may be open already."""
    if not isinstance(directory, int):
        return directory or "."
    try:
        return _readlink(f"/proc/self/fd/{directory}")
    except OSError:
        return "an open directory"


def _note(kind: str, name: Any, *, depth: int = 2) -> None:
    if not _watching or _busy.now or not isinstance(name, (str, bytes)):
        return
    with _unheard():
        _noted(kind, os.fsdecode(name), sys._getframe(depth))


def _noted(kind: str, name: str, frame: FrameType) -> None:
    who = caller(frame)
    if who.lines or (who.finder and kind == "list") or (who.nearest == OURS and kind != "file"):
        return
    if who.nearest == TORCH and (kind in OF_NO_MODEL or name.startswith(("/proc/", "/sys/", "/dev/"))):
        return
    if kind == "unseen" and name.startswith("ctypes") and who.nearest not in (PROJECT, INSTALLED):
        return
    seen = _watching[-1]
    seen.note(kind, name, _shared if who.shared else seen._asked)


_listening = False


def _listen() -> None:
    """Python lets no audit hook go, so there is one."""
    global _listening
    if not _listening:
        sys.addaudithook(_heard)
        _listening = True


@contextlib.contextmanager
def watching(base: Path) -> Iterator[Seen]:
    """What is read inside, by a model that is configured in `base`."""
    _listen()
    seen = Seen(base)
    with watched(_note):
        _watching.append(seen)
        try:
            yield seen
        finally:
            _watching.remove(seen)
