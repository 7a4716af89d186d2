"""TOML: files -> plain data, plain data -> text, and how the guard's messages name what is configured there."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import Argument

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(file: Path) -> dict[str, Any]:
    """The content of a file. A byte order mark, which some editors write first and TOML does not allow, is skipped.

    Raises OSError where it cannot be read, ValueError where it is not TOML.
    """
    found: dict[str, Any] = tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    return found


def toml_key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else toml_value(text)


def toml_value(value: Any) -> str:
    """A value as TOML; `...` marks one to be filled in."""
    if value is ...:
        return "..."
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{toml_key(key)} = {toml_value(item)}' for key, item in value.items())}}}"
    if isinstance(value, str):  # JSON's texts are TOML's, but for one character
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


KEYS = {"inputs": "input"}
"""The keys of arguments that have another name in Python."""


def toml(argument: Argument) -> str:
    """An argument as the key of a configuration: `input`, `input = "1x3x256x256"`, `kwargs = {N = ...}`."""
    key, value = KEYS.get(argument.name, argument.name), argument.value
    if value is None:
        return key
    return f"{key} = {toml_value(_shapes(value) if key == 'input' else value)}"


def _shapes(value: Any) -> str | list[str]:
    """`1x3x256x256` for a shape, and a list of such texts for a list of shapes."""
    if all(isinstance(shape, (list, tuple)) for shape in value):
        return ["x".join(map(str, shape)) for shape in value]
    return "x".join(map(str, value))
