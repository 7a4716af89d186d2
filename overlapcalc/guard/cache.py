"""Outcomes of models that have not changed, kept in a directory that may be deleted at any time.

An entry holds for the very bytes of all that its model was seen to read: every file that Python opened while the model
was loaded, traced and judged, and those that it looked for in vain; every module of the project, the names beside them
and wherever else Python looks for modules; what is claimed, and the versions of everything installed. What cannot be
pinned like that is not kept: a model whose source asks for environment variables, one that starts a process, a file
that was written while it was being read, an outcome with an error.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from .isolation import PACKAGE, installed

NAME = ".overlapcalc_cache"
MARGIN = 20_000_000
"""Nanoseconds: clocks of file systems tick coarsely."""
UNPINNED = tuple(
    word.encode()
    for word in (
        "environ", "getenv", "listdir(", "scandir(", "iterdir(", "glob(", "walk(", "exists(", "is_file(", "is_dir(",
        "isfile(", "isdir(", "access(", "expandvars", "expanduser(", ".home(", "stat(", "getsize", "readlink", "argv",
        "parse_args", "getattr(os", "getattr(sys", "exec(", "sqlite3", "from_file", "get_num_threads", "cpu_count",
        "uname", "gethostname", "mmap", "socket", "urllib", "requests", "time()", "time_ns()", "datetime",
        "safetensors", "h5py", "imread", "read_image", "read_file", "jit.load", "jit import", "ctypes", "load_library",
        "BaseSettings", "omegaconf", "hydra", "getcwd", ".cwd()", "chdir",
    )
)  # fmt: skip
"""What a source says that asks for what no open file holds, or opens one past Python."""
PROCESSES = ("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "os.fork")
"""What Python audits when one is started."""
ABSENT = "absent"
"""The state of a file that was looked for in vain."""


class Cache:
    """Outcomes as plain data by what they are the outcome of."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, question: Any) -> Any:
        """The outcome that was kept, None where there is none or anything that it read is another one now."""
        try:
            kept = json.loads(self._entry(question).read_text(encoding="utf-8"))
            content, digest = kept["content"], kept["digest"]
            if digest != _digest(content) or content["question"] != _plain(question):
                return None
            for file, then in content["files"].items():
                if _state(Path(file)) != then:
                    return None
            return content["outcome"]
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None  # absent or damaged

    def keep(self, question: Any, outcome: Any, seen: Seen) -> None:
        """Keep an outcome, where it can be pinned. A directory that cannot be written to keeps nothing."""
        files = seen.pinned()
        if files is None:
            return
        content = {"question": _plain(question), "files": files, "outcome": outcome}
        with contextlib.suppress(OSError):
            self._directory.mkdir(parents=True, exist_ok=True)
            ignore = self._directory / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n", encoding="utf-8")
            entry = self._entry(question)
            handle, temporary = tempfile.mkstemp(dir=self._directory, prefix=".")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump({"digest": _digest(content), "content": content}, file)
                os.replace(temporary, entry)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise

    def _entry(self, question: Any) -> Path:
        return self._directory / f"{_digest(_plain(question))[:40]}.json"


def _plain(question: Any) -> Any:
    """What JSON makes of it; dates and the like as text."""
    return json.loads(json.dumps(question, sort_keys=True, default=repr))


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@cache
def surroundings() -> Mapping[str, Any]:
    """What every outcome depends on: this overlapcalc, Python, the machine's kind, and all that is installed."""
    own = hashlib.sha256()
    for file in sorted(PACKAGE.rglob("*.py")):
        own.update(str(file.relative_to(PACKAGE)).encode() + b"\0" + file.read_bytes())
    found = sorted(f"{d.metadata['Name']}=={d.version}" for d in importlib.metadata.distributions())
    return {
        "overlapcalc": own.hexdigest(),
        "python": [sys.version, sys.flags.optimize],
        "machine": [sys.platform, platform.machine(), torch.cuda.is_available()],
        "installed": hashlib.sha256("\n".join(found).encode()).hexdigest(),
    }


def question_of(root: Path, table: Mapping[str, Any]) -> Any:
    """What an outcome is the outcome of, files apart: a model as configured, and in what it is looked at."""
    return [str(root), table, list(map(str, _searched())), surroundings()]


def _searched() -> list[Path]:
    """Where Python looks for the modules of projects."""
    return [Path(place).absolute() for place in sys.path if not installed(place or ".") and Path(place).is_dir()]


class Seen:
    """The files that were opened for reading, and those of the modules that are there at the end."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._here = os.getcwd()
        self._opened: set[str] = set()
        self._processes = False
        self._pinned: dict[str, str] | None = None
        self._since = time.time_ns() - MARGIN

    def opened(self, path: str) -> None:
        """A relative path stays one: from another working directory it leads to another file."""
        kept = os.path.isabs(path) or os.getcwd() == self._here
        self._opened.add(path if kept else os.path.abspath(path))

    def process_started(self) -> None:
        """What it reads is not seen."""
        self._processes = True

    def settle(self) -> None:
        """Note what was read as it is now; called while the model's modules are still there."""
        with contextlib.suppress(OSError):  # a file that is gone by now pins nothing
            self._settle()

    def _settle(self) -> None:
        for name, module in list(sys.modules.items()):
            place = name != "__main__" and getattr(module, "__dict__", {}).get("__file__")
            if isinstance(place, str):
                self._opened.add(os.path.abspath(place))
        if self._processes:
            return
        files = {str(place): _state(place) for place in {self._base, *_searched()}}
        for place in sorted(set(map(_source, self._opened))):
            file = Path(place)
            if installed(place) or (file.exists() and not file.is_file()):
                continue
            if not file.exists():
                files[place] = ABSENT
                continue
            if file.stat().st_mtime_ns >= self._since:
                return  # it may have been another one when it was read
            if file.suffix == ".py" and any(word in file.read_bytes() for word in UNPINNED):
                return
            files[place] = _state(file)
            files[str(file.parent)] = _state(file.parent)
        self._pinned = files

    def pinned(self) -> dict[str, str] | None:
        """File -> what it was; None where that does not say all."""
        return self._pinned


def _source(place: str) -> str:
    """The file that bytecode was made of: Python opens the one and means the other."""
    try:
        return importlib.util.source_from_cache(place) if place.endswith(".pyc") else place
    except ValueError:
        return place


def _state(path: Path) -> str:
    """What a file holds; of a directory, which modules and packages lie in it: a new one may hide another."""
    if not path.exists():
        return ABSENT
    if path.is_dir():
        return _digest(sorted(e.name for e in os.scandir(path) if _importable(e.name) or (e.is_dir() and _package(e))))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _importable(name: str) -> bool:
    return name.endswith((".py", ".so", ".pyd"))


def _package(directory: os.DirEntry[str]) -> bool:
    return any(map(_importable, os.listdir(directory)))


_watching: list[Seen] = []


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    if event in PROCESSES:
        _watching[-1].process_started()
    if event == "open":
        path, _, flags = arguments
        reading = isinstance(flags, int) and not flags & (os.O_WRONLY | os.O_RDWR)
        if isinstance(path, (str, bytes)) and reading and not _to_show_lines():
            _watching[-1].opened(os.fsdecode(path))


def _to_show_lines() -> bool:
    """Whether a file is opened for the text of a frame: torch notes that of whoever called, and nothing comes of it."""
    frame: FrameType | None = sys._getframe(2)
    for _ in range(4):
        if frame is None:
            return False
        if frame.f_globals.get("__name__") == "linecache":
            return True
        frame = frame.f_back
    return False


@cache
def _listen() -> None:
    """Python lets no audit hook go, so there is one, which does nothing while nobody watches."""
    sys.addaudithook(_heard)


@contextlib.contextmanager
def watching(base: Path) -> Iterator[Seen]:
    """What is opened for reading inside, by a model that is configured in `base`."""
    _listen()
    seen = Seen(base)
    _watching.append(seen)
    try:
        yield seen
    finally:
        _watching.remove(seen)
