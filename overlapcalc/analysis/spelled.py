"""What forward takes, as people write it: `1x3x64x64`, `scale=2`, `batch.image=1x3x64x64` -> arguments."""

from __future__ import annotations

import difflib
import inspect
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ..errors import InputError

WORDS: dict[str, Any] = {"none": None, "null": None, "true": True, "false": False}
PATH = re.compile(r"([A-Za-z_]\w*)((?:\.[A-Za-z_]\w*|\[\d+\]|\['[^']*'\]|\[\"[^\"]*\"\])*)=(.*)", re.DOTALL)
STEP = re.compile(r"\.([A-Za-z_]\w*)|\[(\d+)\]|\['([^']*)'\]|\[\"([^\"]*)\"\]")
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)

Path = tuple[str | int, ...]


class Entry(NamedTuple):
    """A value with its place: `batch.image` is ("batch", "image")."""

    path: Path
    value: Any


def entry(text: str) -> tuple[Path, str] | None:
    """`batch.image=1x3x64x64` -> its place, and the text of its value; None where nothing is named.

    >>> entry("feats[0]=1x3x64x64"), entry("1x3x64x64")
    ((('feats', 0), '1x3x64x64'), None)
    """
    found = PATH.fullmatch(text)
    if found is None:
        return None
    steps = [int(n) if n else key or one or two for key, n, one, two in STEP.findall(found[2])]
    return (found[1], *steps), found[3]


def value_of(text: str) -> Any:
    """A shape, a number, none, true, false, a list of JSON, or else a text.

    >>> [value_of(text) for text in ("1x3x64x64", "2", "0.5", "none", "true", "[1, 2]", "nearest", "'2'")]
    [(1, 3, 64, 64), 2, 0.5, None, True, [1, 2], 'nearest', '2']
    """
    if re.fullmatch(r"\d+([x,]\d+)+", text, re.IGNORECASE):
        return tuple(map(int, re.split("[x,]", text, flags=re.IGNORECASE)))
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    for read in (int, float, json.loads):
        try:
            return read(text)
        except ValueError:
            continue
    quoted = len(text) > 1 and text[0] == text[-1] == "'"
    return text[1:-1] if quoted else text


def arranged(model: Any, given: Sequence[Any], named: Iterable[Entry]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of forward, positional ones and others by name. Raises InputError.

    given: those without a name, in order: they go to the first arguments that have no entry. A name that forward does
    not have is that of an entry of a dictionary: of one that other entries name, or of the first argument of which
    nothing is said.
    """
    parameters = _parameters(model)
    tree: dict[str | int, Any] = {}
    names = {p.name for p in parameters}
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters) or not parameters
    entries = list(named)
    said = {str(path[0]) for path, _ in entries} & names
    begun = [p.name for p in parameters if any(q[0] == p.name and isinstance((*q, 0)[1], str) for q, _ in entries)]
    for path, value in entries:
        place = path
        if str(path[0]) not in names and not anything:
            open_ones = [p.name for p in parameters if p.kind in POSITIONAL and p.name not in said][len(given) :]
            meant = difflib.get_close_matches(str(path[0]), names, n=1, cutoff=0.75)
            if not (begun or open_ones) or (meant and not isinstance(value, tuple)):
                raise InputError(_unknown(model, str(path[0]), sorted(names)))
            place = ((begun or open_ones)[0], *path)
        _put(tree, place, value)
    args: list[Any] = []
    kwargs = {str(key): _container(inside, str(key)) for key, inside in tree.items()}
    waiting = list(given)
    for p in parameters:
        if p.kind is p.VAR_POSITIONAL:
            more = kwargs.pop(p.name, [])
            args, waiting = [*args, *waiting, *(more if isinstance(more, list) else [more])], []
        elif p.kind not in POSITIONAL:
            break
        elif p.name in kwargs:
            args.append(kwargs.pop(p.name))
        elif waiting:
            args.append(waiting.pop(0))
        else:
            break
    return (*args, *waiting), kwargs


def _parameters(model: Any) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(model.forward).parameters.values())
    except (AttributeError, TypeError, ValueError):
        return []


def _unknown(model: Any, name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"{type(model).__name__}.forward takes {', '.join(names)}, and no {name}{meant}"


class _Inside(dict[str | int, Any]):
    """What a container holds; no value that somebody gave is one."""


def _put(tree: dict[str | int, Any], path: Path, value: Any) -> None:
    for step in path[:-1]:
        tree = tree.setdefault(step, _Inside())
        if not isinstance(tree, _Inside):
            raise InputError(f"{said_as(path)} is given, and so is all of {said_as(path[: path.index(step) + 1])}")
    if path[-1] in tree:
        raise InputError(f"{said_as(path)} is given twice")
    tree[path[-1]] = value


def said_as(path: Path) -> str:
    """`batch.image`, `feats[0]`

    >>> said_as(("batch", "two words", 0))
    "batch['two words'][0]"
    """
    text = ""
    for step in path:
        plain = isinstance(step, str) and step.isidentifier()
        text += f".{step}" if plain and text else str(step) if plain else f"[{step!r}]"
    return text


def _container(inside: Any, name: str) -> Any:
    """A dictionary, or a list where all places are numbers."""
    if not isinstance(inside, _Inside):
        return inside
    found = {key: _container(one, said_as((name, key))) for key, one in inside.items()}
    if not all(isinstance(key, int) for key in found):
        return found
    missing = next((i for i in range(len(found)) if i not in found), None)
    if missing is not None:
        raise InputError(f"{name}[{missing}] is missing: a list is given from its beginning")
    return [found[i] for i in range(len(found))]
