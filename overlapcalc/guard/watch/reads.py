"""What is read while a model is loaded, traced and judged; and whether anything may have been read unseen.

Python reports what it opens, lists and starts. Other doors are watched (doors.py), and native code that opens files by
itself is recognised (natives.py). Whatever was read before counts through what is loaded: every module of the process,
and every library.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ...analysis.gc_pause import gc_paused
from ..digests import TICK, Digests, Mark, changed_at
from ..pins import Pins, pinned
from ..places import installed
from . import natives
from .bytecode import other_bytecode, source_of
from .callers import INSTALLED, PROJECT, kind_of
from .marks import START, mark_at, open_files, young
from .quiet import unheard

UNPINNED = tuple(
    word.encode()
    for word in (
        "environ", "getenv", "listdir(", "scandir(", "iterdir(", "glob(", "walk(", "exists(", "is_file(", "is_dir(",
        "isfile(", "isdir(", "access(", "expandvars", "expanduser(", ".home(", "stat(", "getsize", "readlink", "argv",
        "parse_args", "getattr(os", "getattr(sys", "exec(", "sqlite3", "from_file", "get_num_threads", "cpu_count",
        "uname", "gethostname", "mmap", "socket", "urllib", "requests", "time()", "time_ns()", "datetime",
        "safetensors", "h5py", "imread", "read_image", "read_file", "jit.load", "jit import", "ctypes", "load_library",
        "BaseSettings", "omegaconf", "hydra", "getcwd", ".cwd()", "chdir", "posix.", "from posix", "dir_fd", "mtime",
        "shared_memory", "cffi", "dbm", "shelve", "sysconf", "orig_argv", "stdin",
        "strftime", "localtime", "gmtime", "ctime", "tzname", "zoneinfo", "perf_counter", "monotonic", "process_time",
        "disk_usage", "getloadavg", "urandom", "secrets", "uuid", "os.read(", "fileno", "getpid",
    )
)  # fmt: skip
"""Words in a source that ask for something no open file holds, or that open one past Python. Most are watched too."""
_ever: dict[str, Mark | None] = {}
"""Files that were opened while any model was watched, as they were then: packages are imported only once."""


class Asked:
    """What was asked for, by kinds of pins."""

    def __init__(self) -> None:
        self.names: dict[str, set[str]] = {}

    def add(self, kind: str, name: str) -> None:
        self.names.setdefault(kind, set()).add(name)


_shared = Asked()
"""What installed packages asked for: they may remember it, so it counts for every model."""


class UnseenError(Exception):
    """Something may have been read that cannot be pinned."""


class Seen:
    """Everything that was asked for on behalf of one model."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._here = os.getcwd()
        self._environment = dict(os.environ)
        self._since = time.time_ns() - TICK
        self._asked = Asked()
        self._marks: dict[str, Mark | None] = {}
        self._before = natives.loaded(), natives.mapped() | open_files()
        self._parts: tuple[Asked, dict[str, str]] | None = None
        self.unseen = ""

    def opened(self, path: str) -> None:
        """A file is opened, or looked for in vain."""
        self.note("file", path)

    def note(self, kind: str, name: str, *, shared: bool = False) -> None:
        """A relative path stays relative: from another working directory it leads to another file."""
        if kind == "unseen":
            self.refuse(name)
            return
        if kind in ("file", "look", "list") and not os.path.isabs(name) and os.getcwd() != self._here:
            name = os.path.abspath(name)
        (_shared if shared else self._asked).add(kind, name)
        for place in {name, source_of(name)} if kind == "file" else ():
            place = os.path.abspath(place)
            if place not in self._marks:
                self._marks[place] = young(place)
            _ever.setdefault(place, self._marks[place])

    def refuse(self, why: str) -> None:
        """Keep no outcome of this model: something may have been read unseen."""
        self.unseen = self.unseen or why

    def settle(self) -> None:
        """Note what is loaded, while the model's modules are still there, and whether anything may be unseen."""
        with unheard(), gc_paused():
            try:
                self._settle()
            except (UnseenError, OSError) as error:  # a file that is already gone pins nothing
                self.refuse(str(error))

    def let_go(self) -> None:
        """Instead of `settle`, where nothing is kept of this model: later ones must still know what it brought."""
        with unheard(), contextlib.suppress(UnseenError, OSError):
            self._natives()

    def _settle(self) -> None:
        everything = Asked()
        for asked in (self._asked, _shared):
            for kind, names in asked.names.items():
                for name in names:
                    everything.add(kind, name)
        for file in _module_files():
            everything.add("file", file)
        for folder in _packages():
            everything.add("modules", folder)
        for place in _searched():
            everything.add("modules", str(place))
            for link in sorted(place.glob("*.pth")) if place.is_dir() else ():
                everything.add("file", str(link))
        everything.add("modules", str(self._base))
        for file in self._natives():
            everything.add("file", file)
        for file in sorted(everything.names.pop("file", ())):
            for read in filter(None, (source_of(file), other_bytecode(file))):
                self._check(read)
                everything.add("file", read)
                if read.endswith(".py"):
                    everything.add("modules", os.path.dirname(os.path.abspath(read)))
        self._parts = everything, self._environment

    def _check(self, path: str) -> None:
        """Raises UnseenError where a file may have changed since it was read, or its bytes are not all that matters."""
        place = os.path.abspath(path)
        now = mark_at(place)
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
        """The libraries of the process, and data files that are mapped or open. Raises UnseenError."""
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
            _ever.setdefault(os.path.abspath(file), mark_at(file))
            if (mark := mark_at(file)) is not None and changed_at(mark) >= self._since:
                raise UnseenError(f"{file} was written while it was loaded")
        strange = frozenset(file for file in now if not natives.trusted(file))
        asked_for = (strange & _loaded) | natives.mentioned(strange - _loaded, self._sources())
        free = natives.openers(asked_for, now)
        if free:
            raise UnseenError(f"{free[0]} opens files by itself")
        return set(now) | ((natives.mapped() | open_files()) - data)

    def _sources(self) -> list[str]:
        """The sources of the modules that this model brought along, except those of Python and torch."""
        return [place for place in self._marks if place.endswith(".py") and kind_of(place) in (PROJECT, INSTALLED)]

    def files(self) -> frozenset[str]:
        """The files that are pinned by their bytes."""
        return frozenset() if self._parts is None else frozenset(self._parts[0].names.get("file", ()))

    def pinned(self, digests: Digests) -> Pins | None:
        """The present state of all of it; None where that is not everything."""
        if self.unseen or self._parts is None:
            return None
        asked, environment = self._parts
        try:
            found = pinned(asked.names, digests, environment)
            for file in asked.names.get("file", ()):
                self._check(file)  # nothing changed while digests were computed
        except (UnseenError, OSError) as error:
            self.refuse(str(error))
            return None
        return found


def _module_files() -> Iterator[str]:
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__dict__", {}).get("__file__")
        if isinstance(file, str) and name != "__main__":
            place = os.path.abspath(file)
            if not os.path.exists(place):  # in a zip file, say
                place = next((str(p) for p in Path(place).parents if p.is_file()), place)
            yield place


def _packages() -> Iterator[str]:
    """Where the modules of packages are looked for, including packages without a file of their own."""
    for module in list(sys.modules.values()):
        for place in list(getattr(module, "__dict__", {}).get("__path__") or ()):
            if isinstance(place, str):
                yield os.path.abspath(place)


def _searched() -> list[Path]:
    """Where Python looks for modules."""
    return [Path(place).absolute() for place in sys.path]


_loaded: set[str] = set()
"""Libraries that models brought along."""
