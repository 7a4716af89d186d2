"""The lock: what each guarded model needs, as a text that people read in a diff.

TOML, sorted, one figure per line, Unix line ends. The same needs give the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import DamagedLockError, InputError
from .requirements import Figure, Requirements
from .toml import read_toml, toml_key, toml_value

VERSION = 1
HEAD = "# What each guarded model needs, as `overlapcalc lock` found it. `overlapcalc check` compares.\n"
WAY = "write it anew with `overlapcalc lock`"


def lock_text(needs: Mapping[str, Requirements]) -> str:
    """The lock of these models."""
    lines = [HEAD, f"version = {VERSION}\n"]
    for name in sorted(needs):
        lines += [f"\n[{_path('model', name)}]\n", *_lines(needs[name].net)]
        for place in sorted(needs[name].places):
            lines += [f"\n[{_path('model', name, *place)}]\n", *_lines(needs[name].places[place])]
        lines.append(f"\n[{_path('model', name, 'layers')}]\n")
        for layer in sorted(needs[name].layers, key=_by_numbers):
            figures = needs[name].layers[layer]
            inside = ", ".join(f"{key} = {toml_value(figures[key])}" for key in figures)
            lines.append(f"{toml_key(layer)} = {{ {inside} }}\n")
    return "".join(lines)


def _lines(figures: Mapping[str, Figure]) -> Iterator[str]:
    for name in sorted(figures):
        value = figures[name]
        if isinstance(value, tuple) and len(value) > 1:
            yield f"{name} = [\n" + "".join(f"  {toml_value(item)},\n" for item in value) + "]\n"
        else:
            yield f"{name} = {toml_value(value)}\n"


def _path(*keys: str) -> str:
    return ".".join(map(toml_key, keys))


def _by_numbers(text: str) -> list[tuple[int, int | str]]:
    """A sort key that puts `g_a.2` before `g_a.10`.

    >>> sorted(["g_a.10", "g_a.2"], key=_by_numbers)
    ['g_a.2', 'g_a.10']
    """
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"([0-9]+)", text)]


def read_lock(file: Path) -> dict[str, Requirements] | None:
    """The needs of each model in a lock; None where there is no file. Raises DamagedLockError, InputError."""
    try:
        data = read_toml(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{file}: it cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise DamagedLockError(
            f"{file}: it is not a lock of overlapcalc, for it is not TOML ({error}); {WAY}"
        ) from error
    version = data.get("version")
    if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
        raise InputError(
            f"{file}: it is of version {version}, this overlapcalc reads {VERSION}; update overlapcalc, or delete the "
            "file and write it anew with `overlapcalc lock`"
        )
    if version != VERSION or isinstance(version, bool):
        raise DamagedLockError(f"{file}: version = {version!r}, expected {VERSION}; {WAY}")
    strange = sorted(set(data) - {"version", "model"})
    if strange:
        raise DamagedLockError(f"{file}: unknown key {strange[0]}; {WAY}")
    models = data.get("model", {})
    if not isinstance(models, dict):
        raise DamagedLockError(f"{file}: model is not a table; {WAY}")
    return {name: _needs(file, name, table) for name, table in models.items()}


def _needs(file: Path, name: str, table: Any) -> Requirements:
    """The needs in one table: tables in it are places or the layers, everything else is a figure of the net."""
    try:
        net = {key: _figure(value) for key, value in table.items() if not isinstance(value, dict)}
        if not isinstance(net["blocking-free"], bool) or not isinstance(net["input"], tuple):
            raise TypeError("a figure is of another type")
        places = {}
        for output, inputs in table.items():
            if isinstance(inputs, dict) and output != "layers":
                for input, axes in inputs.items():
                    for axis, figures in axes.items():
                        places[output, input, axis] = _flat(figures)
        layers: dict[str, dict[str, Any]] = {layer: dict(table["layers"][layer]) for layer in table["layers"]}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedLockError(f"{file}: model {name!r} is damaged ({type(error).__name__}: {error}); {WAY}") from error
    return Requirements(net, places, layers)


def _flat(figures: Mapping[str, Any]) -> dict[str, Figure]:
    """`tile.before` is read as a table in a table."""
    out: dict[str, Figure] = {}
    for name, value in figures.items():
        if isinstance(value, dict):
            out.update({f"{name}.{key}": _figure(inner) for key, inner in value.items()})
        else:
            out[name] = _figure(value)
    return out


def _figure(value: Any) -> Figure:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if not isinstance(value, (bool, int, str)):
        raise TypeError(f"{value!r} is no figure")
    return value
