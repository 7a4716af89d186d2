"""The file of a saved program -> the program. Only torch.export.load reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import Argument, InputError
from ..trace.quiet import quiet

SPEC = re.compile(r"(?P<file>.*\.pt2)(?::(?P<inner>.*))?")


def load_program(spec: str, kwargs: Mapping[str, Any], base: Path) -> torch.export.ExportedProgram:
    """The program in FILE.pt2, a path relative to `base`. Raises InputError.

    torch.export.load may unpickle parts of the file, which can run code: only for files that you trust.
    """
    found = SPEC.fullmatch(spec)
    assert found is not None
    file, inner = base / found["file"], found["inner"]
    if inner is not None:
        raise InputError(f"SPEC {spec!r}: a saved program is one whole net; it has no {inner!r} to choose")
    if kwargs:
        raise InputError(f"SPEC {spec!r} is a saved program; ", Argument("kwargs"), " are for a class or a function")
    if not file.is_file():
        raise InputError(f"SPEC {spec!r}: there is no file {found['file']}")
    try:
        with quiet():
            program: Any = torch.export.load(str(file))
    except Exception as error:  # torch raises many unrelated types here
        raise InputError(f"SPEC {spec!r}: {_reason(error)}") from error
    if not isinstance(program, torch.export.ExportedProgram):
        raise InputError(f"SPEC {spec!r} holds a {type(program).__name__}, not a program of torch.export")
    return program


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
    return (
        f"torch {torch.__version__} reads no program in it ({said}). Write it with torch.export.save, by a version of "
        "torch whose files this one reads: best the same; custom operators of the net must be registered"
    )
