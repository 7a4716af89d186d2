"""How the command line words things: arguments as options, and wrong usage in one line."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Mapping
from typing import Any, NoReturn

from ..errors import Argument

OPTIONS = {"inputs": "--input", "axes": "--axis"}
"""The options of arguments that have another name in Python; all others are alike: `stream_axis` is --stream-axis."""


def shell(argument: Argument) -> str:
    """An argument as one types it: `--input`, `--input 1x3x256x256`, `--kwargs '{"N": ...}'`, `--block H=32,W=512`.

    An option with several values is repeated.
    """
    option = OPTIONS.get(argument.name, "--" + argument.name.replace("_", "-"))
    if argument.value is None:
        return option
    return " ".join(f"{option} {shlex.quote(text)}" for text in _texts(argument.name, argument.value))


def _texts(name: str, value: Any) -> list[str]:
    """The values of an option, one text for each that it takes."""
    if name == "inputs":
        shapes = value if all(isinstance(shape, (list, tuple)) for shape in value) else [value]
        return ["x".join(map(str, shape)) for shape in shapes]
    if name == "kwargs":
        return [_json(value)]
    if isinstance(value, Mapping):
        return [",".join(f"{axis}={n}" for axis, n in value.items())]
    if name == "tile" and isinstance(value, (list, tuple)):
        return [",".join(map(str, value))]
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else [str(value)]


def _json(value: Any) -> str:
    """A value as JSON; `...` marks one to be filled in."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{json.dumps(key)}: {_json(item)}' for key, item in value.items())}}}"
    return "..." if value is ... else json.dumps(value)


class Parser(argparse.ArgumentParser):
    """argparse, with errors worded like all of ours: `overlapcalc: what; the way out`."""

    def error(self, message: str) -> NoReturn:
        """Exit code 2."""
        self.exit(2, f"overlapcalc: {message.removeprefix('argument ')}; see `{self.prog} --help`\n")
