"""What an outcome depends on, as plain data: everything that was read, and its state then.

| kind | name | state |
|---|---|---|
| file | a path that was opened | the digest of its bytes |
| look | a path that was asked about | what lies there; for a file, its size |
| list | a directory that was listed | the names in it, and what they are |
| modules | a directory where Python looks for modules | the names in it that could be imported |
| environment | a variable, or `*` for all | the digest of its value |
| cwd | the working directory | its path |

For every path the state also says where links lead, so that a link to other bytes of the same kind is another state.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable, Mapping

from .digests import Digests, absolute, digest_of
from .places import installed

Pins = dict[str, dict[str, str]]
"""Kind -> name -> state."""
ABSENT = "absent"
MODULES = (".py", ".pyc", ".so", ".pyd", ".pth", ".egg-link")
OWN = frozenset({".overlapcalc_cache", "__pycache__"})
"""Names that come and go without meaning anything."""


def pinned(asked: Mapping[str, Iterable[str]], digests: Digests, environment: Mapping[str, str]) -> Pins:
    """The present state of everything that was asked for. Raises OSError where something cannot be read."""
    return {
        kind: {name: _state(kind, name, digests, environment) for name in sorted(names)}
        for kind, names in asked.items()
    }


def still(pins: Pins, digests: Digests, environment: Mapping[str, str]) -> bool:
    """Whether everything is as it was. Raises OSError where something cannot be read, KeyError for an unknown kind."""
    return all(
        _state(kind, name, digests, environment) == then for kind, names in pins.items() for name, then in names.items()
    )


def _state(kind: str, name: str, digests: Digests, environment: Mapping[str, str]) -> str:
    if kind == "environment":
        return _variable(name, environment)
    if kind == "cwd":
        return os.getcwd()
    place, status = digests.real(name)
    return _what(kind, place, status, digests) + (
        "" if place == absolute(name) or name.startswith("/proc/") else f" {place}"
    )


def _what(kind: str, place: str, status: os.stat_result | None, digests: Digests) -> str:
    if status is None:
        return ABSENT
    if stat.S_ISDIR(status.st_mode):
        if kind == "modules" and installed(place):
            return digests.remembered(place, _names)
        return {"list": _listed, "modules": _modules}.get(kind, _folder)(place)
    if not stat.S_ISREG(status.st_mode):
        return f"special {stat.S_IFMT(status.st_mode)} {status.st_rdev}"
    return f"file {status.st_size}" if kind == "look" else digests.of(place)


def _folder(_: str) -> str:
    return "directory"


def _listed(directory: str) -> str:
    found = sorted((e.name, _type(e)) for e in os.scandir(directory) if e.name not in OWN)
    return digest_of(found)


def _type(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return f"link {os.readlink(entry.path)}"
    return "directory" if entry.is_dir() else "file"


def _modules(directory: str) -> str:
    """The modules and packages in a directory: a new one may hide another."""
    return digest_of(sorted(e.name for e in os.scandir(directory) if e.name not in OWN and _importable(e)))


def _names(directory: str) -> str:
    """The same, with every directory taken for a package, so that only the directory itself can change it."""
    return digest_of(sorted(n for n in os.listdir(directory) if n not in OWN and ("." not in n or n.endswith(MODULES))))


def _importable(entry: os.DirEntry[str]) -> bool:
    if entry.name.endswith(MODULES):
        return True
    return "." not in entry.name and entry.is_dir() and _package(entry)


def _package(directory: os.DirEntry[str]) -> bool:
    with contextlib.suppress(PermissionError), os.scandir(directory) as inside:
        return any(e.name.endswith(MODULES) or (e.name not in OWN and e.is_dir()) for e in inside)
    return False


def _variable(name: str, environment: Mapping[str, str]) -> str:
    """The digest of a variable, because values may be secret."""
    if name == "*":
        return digest_of(dict(environment))
    value = environment.get(name)
    return ABSENT if value is None else hashlib.sha256(f"{name}={value}".encode(errors="replace")).hexdigest()
