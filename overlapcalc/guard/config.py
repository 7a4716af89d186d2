"""The configuration: `[tool.overlapcalc]` of a TOML file -> which models are guarded, and what is claimed of each."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..analysis.spelled import Entry
from ..errors import Argument, InputError
from ..planning.options import PASSES, Blocking
from .allowed import READERS, sayable
from .claims import KINDS, Claim, Setting, WrongValue
from .toml import read_toml

NAME = "pyproject.toml"
LOCK = "overlapcalc.lock"
HEADER = re.compile(r"\s*\[\[\s*tool\s*\.\s*overlapcalc\s*\.\s*models\s*\]\]")


@dataclass(frozen=True)
class GuardedModel:
    """One entry of `[[tool.overlapcalc.models]]`.

    inputs: shapes, or all that forward takes by name; None means guessed from the first layer (for a saved program, its
    own). line: that of the entry in the file, 1 where it is not known. table: the entry as it was read.
    """

    name: str
    spec: str
    kwargs: Mapping[str, Any]
    inputs: tuple[tuple[int, ...] | Entry, ...] | None
    layout: tuple[str, ...] | None
    axes: tuple[str, ...] | None
    setting: Setting
    claims: tuple[Claim, ...]
    line: int
    table: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Config:
    """The guarded models of a file, in its order; relative paths of specs are relative to its directory."""

    file: Path
    models: tuple[GuardedModel, ...]

    @property
    def root(self) -> Path:
        return self.file.parent

    @property
    def lock(self) -> Path:
        """The lock lies beside the configuration."""
        return self.root / LOCK

    def chosen(self, names: Iterable[str] | None) -> tuple[GuardedModel, ...]:
        """The models with these names; all for None. Raises InputError."""
        if names is None:
            return self.models
        wanted = set(names)
        known = [model.name for model in self.models]
        for name in sorted(wanted - set(known)):
            raise InputError(f"{self.file}: no model {name!r}{_near(name, known)}; it has {', '.join(known)}")
        return tuple(model for model in self.models if model.name in wanted)


def find_config(start: Path) -> Path:
    """The nearest pyproject.toml, from a directory upward, with a [tool.overlapcalc] table. Raises InputError."""
    for directory in (start, *start.parents):
        file = directory / NAME
        if file.is_file() and "overlapcalc" in _tools(_parsed(file)):
            return file
    raise InputError(
        f"no {NAME} with a [tool.overlapcalc] table in {start} or above; add [[tool.overlapcalc.models]] to one, or "
        "name another file: ",
        Argument("config", "models.toml"),
    )


def read_config(file: Path) -> Config:
    """The configuration of a file. Raises InputError that lists every mistake with its key and what is allowed."""
    file = file.parent.resolve() / file.name  # Python's paths of modules are resolved, too
    tools = _tools(_parsed(file))
    if "overlapcalc" not in tools:
        raise InputError(f"{file}: it has no [tool.overlapcalc] table; add [[tool.overlapcalc.models]]")
    table, mistakes = tools["overlapcalc"], _Mistakes()
    listed = table.get("models") if isinstance(table, dict) else None
    if isinstance(table, dict):
        mistakes.unknown("tool.overlapcalc", table, ("models",))
    if not isinstance(listed, list) or not listed or not all(isinstance(entry, dict) for entry in listed):
        mistakes.add("tool.overlapcalc.models", "expected one table [[tool.overlapcalc.models]] or more")
        listed = []
    lines = _lines(file, len(listed))
    models = [
        _model(entry, place, line, mistakes) for place, (entry, line) in enumerate(zip(listed, lines, strict=True))
    ]
    names = [model.name for model in models if model is not None]
    for name in sorted({name for name in names if names.count(name) > 1}):
        mistakes.add("tool.overlapcalc.models", f"two models are called {name!r}; give each a name of its own")
    mistakes.refuse(file)
    return Config(file, tuple(model for model in models if model is not None))


def _parsed(file: Path) -> dict[str, Any]:
    try:
        return read_toml(file)
    except OSError as error:
        reason = f"{file}: it cannot be read ({error.strerror or error}); name another file: "
        raise InputError(reason, Argument("config", "models.toml")) from error
    except ValueError as error:
        raise InputError(f"{file}: it is not TOML ({error})") from error


def _tools(data: Mapping[str, Any]) -> Mapping[str, Any]:
    tools = data.get("tool", {})
    return tools if isinstance(tools, dict) else {}


def _lines(file: Path, count: int) -> list[int]:
    """The line of each entry; 1 where entries do not have a header each."""
    text = file.read_text(encoding="utf-8-sig").splitlines()
    found = [number for number, line in enumerate(text, 1) if HEADER.match(line)]
    return found if len(found) == count else [1] * count


class _Mistakes:
    """Everything that is wrong with a file, to be reported at once."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, key: str, message: str) -> None:
        self._found.append(f"{key}: {message}")

    def unknown(self, where: str, table: Mapping[str, Any], allowed: Iterable[str]) -> None:
        known = list(allowed)
        for key in table:
            if key not in known:
                self.add(f"{where}.{key}", f"unknown key{_near(key, known)}; allowed: {', '.join(known)}")

    def read(self, where: str, table: Mapping[str, Any], key: str, allowed: str, one: Callable[[Any], Any]) -> Any:
        """The value of a key as `one` reads it; None where it is absent or wrong."""
        if key not in table:
            return None
        try:
            return one(table[key])
        except WrongValue:
            self.add(f"{where}.{key}", f"{table[key]!r} is not allowed; expected {allowed}")
            return None

    def refuse(self, file: Path) -> None:
        if self._found:
            raise InputError(f"{file}: {self._found[0]}" + "".join(f"\n  {more}" for more in self._found[1:]))


def _near(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word.replace("_", "-"), known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


TIMED = {"rate": "L", "fps": "D"}
"""Samples per second, and of which axis."""
PLANNED = ("image", "block", "schedule", "disk", "spill")
"""What claims about a plan refer to."""
OPTIONS = ("name", "spec", "kwargs", "input", "layout", "axes", *TIMED, *PLANNED)


def _model(entry: Mapping[str, Any], place: int, line: int, mistakes: _Mistakes) -> GuardedModel | None:
    name = entry.get("name")
    where = f"models.{name}" if isinstance(name, str) and sayable(name) else f"models[{place}]"
    mistakes.unknown(where, entry, (*OPTIONS, *KINDS))
    for key in ("name", "spec"):
        if key not in entry:
            mistakes.add(f"{where}.{key}", "it is missing; expected a text")
    read = {key: mistakes.read(where, entry, key, allowed, one) for key, (allowed, one) in READERS.items()}
    claims = [
        mistakes.read(where, entry, key, KINDS[key].allowed, partial(KINDS[key].read, key))
        for key in entry
        if key in KINDS
    ]
    costs = [key for key, kind in KINDS.items() if kind.costs]
    claimed = [key for key in costs if key in entry]
    if claimed and "image" not in entry:
        mistakes.add(f"{where}.{claimed[0]}", 'it is for a given image; add image = "3840x2160"')
    proved = {"schedule"} if "verify" in entry and entry.get("schedule") == PASSES else set()
    for key in PLANNED:
        if key in entry and not claimed and key not in proved:
            mistakes.add(
                f"{where}.{key}", f"it is for {', '.join(costs[:-1])} and {costs[-1]}, of which none is claimed"
            )
    blocking = _blocking(read, where, mistakes)
    rates = {axis: read[key] for key, axis in TIMED.items() if read[key] is not None}
    timed = [claim.key for claim in claims if claim is not None and claim.timed]
    given = [key for key in TIMED if key in entry]
    if timed and not given:
        need = "add rate = 48000, samples per second along L, or fps = 25, frames per second along D"
        mistakes.add(f"{where}.{timed[0]}", f"a time needs a rate; {need}")
    for key in given if not timed else ():
        mistakes.add(f"{where}.{key}", 'it is for a time such as max-lookahead = "20 ms", of which none is claimed')
    if read["name"] is None or read["spec"] is None:
        return None
    return GuardedModel(
        read["name"],
        read["spec"],
        read["kwargs"] or {},
        read["input"],
        read["layout"],
        read["axes"],
        Setting(image=read["image"], blocking=blocking, rates=rates),
        tuple(found for found in claims if found is not None),
        line,
        entry,
    )


def _blocking(read: Mapping[str, Any], where: str, mistakes: _Mistakes) -> Blocking:
    """How the image is run by blocks, as configured."""
    schedule = read["schedule"]
    for key in ("disk", "spill"):
        if read[key] is not None and schedule not in (None, PASSES):
            mistakes.add(f"{where}.{key}", f'it is for schedule = "{PASSES}", not "{schedule}"')
            return Blocking()
    return Blocking(block=read["block"], schedule=schedule, disk=read["disk"], spill=read["spill"])
