"""The doors that Python does not audit: questions about files, the environment, and files that C++ and Rust open.

While a model is watched, each is replaced, under every name that it has, by one that notes what it is asked for.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import pathlib
import re
import sys
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import torch

from .quiet import busy

Note = Callable[[str, str], None]
"""Takes the kind of a pin, and its name."""

LONGEST = 4096
QUESTIONS = ("stat", "lstat", "readlink", "access", "open")
PLACES = ("getcwd", "getcwdb")
OPENING = re.compile(
    r"File(Reader|Store)$|^import_ir_module|_from_file$|^_load_|file_format|extra_files|^AOTIModel|read_file$"
)
"""Names of functions in torch._C that open a file."""
NOT_OPENING = re.compile("buffer|bytes|^_load_mobile_module$")


@contextlib.contextmanager
def watched(note: Note) -> Iterator[None]:
    """Inside, every door tells `note` what goes through it."""
    doors = _doors(note)
    kept = list(_places(doors))
    for holder, name, value in kept:
        _put(holder, name, doors[id(value)][1])
    sets = (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks, os.supports_effective_ids)
    added = [(functions, doors[id(f)][1]) for functions in sets for f in list(functions) if id(f) in doors]
    for functions, door in added:
        functions.add(door)
    try:
        with _environment(note), _storages(note):
            yield
    finally:
        for functions, door in added:
            functions.discard(door)
        for holder, name, value in kept:
            if getattr(holder, name, None) is doors[id(value)][1]:  # else somebody else replaced it meanwhile
                _put(holder, name, value)


@contextlib.contextmanager
def _environment(note: Note) -> Iterator[None]:
    named, whole = _Environ.__getitem__, _Environ.__iter__
    _Environ.__getitem__, _Environ.__iter__ = _named(named, note), _whole(whole, note)
    try:
        yield
    finally:
        _Environ.__getitem__, _Environ.__iter__ = named, whole


@contextlib.contextmanager
def _storages(note: Note) -> Iterator[None]:
    """`from_file` belongs to a C++ class, which cannot be patched; a Python class inherits it."""
    storage: Any = torch.UntypedStorage
    before = vars(storage).get("from_file")
    storage.from_file = staticmethod(_opening(storage.from_file, note))
    try:
        yield
    finally:
        if before is None:
            del storage.from_file
        else:
            storage.from_file = before


_Environ: Any = type(os.environ)
Doors = dict[int, tuple[Any, Any]]
"""Identity of a function -> the function, and its replacement."""


def _doors(note: Note) -> Doors:
    found: Doors = {}
    for name in QUESTIONS:
        _add(found, getattr(os, name, None), functools.partial(_asking, note=note))
    for name in PLACES:
        _add(found, getattr(os, name), functools.partial(_here, note=note))
    for place in (torch._C, getattr(torch._C, "_aoti", None), getattr(torch._C, "_distributed_c10d", None)):
        for name, value in list(vars(place).items()) if place is not None else ():
            if callable(value) and OPENING.search(name) and not NOT_OPENING.search(name):
                _add(found, value, functools.partial(_opening, note=note))
    _add(found, torch.from_file, functools.partial(_opening, note=note))
    if _there("safetensors"):
        native: Any = importlib.import_module("safetensors._safetensors_rust")
        _add(found, native.safe_open, functools.partial(_opening, note=note))
    return found


def _there(package: str) -> bool:
    try:
        return package in sys.modules or importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _add(found: Doors, door: Any, watching: Callable[[Any], Any]) -> None:
    if door is not None:
        found[id(door)] = door, watching(door)


def _places(doors: Doors) -> Iterator[tuple[Any, str, Any]]:
    """Every name by which a module knows a door."""
    accessor: Any = getattr(pathlib, "_NormalAccessor", None)  # of Python 3.10
    names: dict[type, set[str]] = {}  # modules are large, and Python audits every call of `id`: most are told by these
    for door, _ in doors.values():
        names.setdefault(type(door), set()).add(door.__name__)
    for name, module in [*sys.modules.items(), ("pathlib.accessor", accessor)]:
        if name.startswith("overlapcalc.guard"):
            continue
        for key, value in list(getattr(module, "__dict__", {}).items()):
            if type(value) in names and value.__name__ in names[type(value)]:
                known = doors.get(id(value))
                if known is not None and known[0] is value:
                    yield module, key, value


def _put(holder: Any, name: str, value: Any) -> None:
    setattr(
        holder, name, staticmethod(value) if isinstance(holder, type) and isinstance(value, FunctionType) else value
    )


# ---- replacements of doors ----------------------------------------------------------------------------------------


def _asking(door: Any, note: Note) -> Any:
    kind = "file" if door is os.open else "look"

    @functools.wraps(door)
    def asked(path: Any, *arguments: Any, **named: Any) -> Any:
        if busy.now:
            return door(path, *arguments, **named)
        directory = named.get("dir_fd")
        for text in _texts(path):
            if isinstance(directory, int) and not os.path.isabs(text):
                note(kind, os.path.join(place_of(directory), text))
            elif kind == "look":  # Python audits the others
                note(kind, text)
        return door(path, *arguments, **named)

    return asked


def place_of(handle: int) -> str:
    """The path of an open directory; where the system does not say, one that does not exist."""
    try:
        return _readlink(f"/proc/self/fd/{handle}")
    except OSError:
        return "/an open directory"


_readlink = os.readlink  # not the one that is watched


def _here(door: Any, note: Note) -> Any:
    @functools.wraps(door)
    def asked() -> Any:
        note("cwd", "")
        return door()

    return asked


def _opening(door: Any, note: Note) -> Any:
    """For a class, a subclass: whatever path it is given is opened."""

    def noted(arguments: Any, named: Any) -> None:
        for argument in (*arguments, *named.values()):
            for text in _texts(argument):
                note("file", text)

    if isinstance(door, type):
        with contextlib.suppress(TypeError):  # some classes cannot be subclassed

            class Watched(door):  # type: ignore[misc]
                def __init__(self, *arguments: Any, **named: Any) -> None:
                    noted(arguments, named)
                    super().__init__(*arguments, **named)

            Watched.__name__, Watched.__qualname__ = door.__name__, door.__qualname__
            Watched.__module__ = door.__module__
            return Watched

    @functools.wraps(door, updated=())
    def opened(*arguments: Any, **named: Any) -> Any:
        noted(arguments, named)
        return door(*arguments, **named)

    return opened


def _named(door: Any, note: Note) -> Any:
    def asked(self: Any, key: Any) -> Any:
        if isinstance(key, (str, bytes)):
            note("environment", os.fsdecode(key))
        return door(self, key)

    return asked


def _whole(door: Any, note: Note) -> Any:
    def asked(self: Any) -> Any:
        note("environment", "*")
        return door(self)

    return asked


def _texts(path: Any) -> Iterator[str]:
    """The path in an argument, if it is one."""
    with contextlib.suppress(TypeError, ValueError):
        text = os.fsdecode(path)
        if 0 < len(text) < LONGEST and "\0" not in text:
            yield text
