"""A file that appears under its name only when it is complete."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from .errors import InputError


def write_complete(path: Path, text: str, *, called: str = "") -> None:
    """Write a file in UTF-8, with the ends of lines that `text` has, or leave the old one. Raises InputError.

    called: what an error calls it, its path when absent.
    """
    complete(path, lambda file: file.write(text.encode()), called=called)


def complete(path: Path, write: Callable[[IO[bytes]], object], *, called: str = "") -> None:
    """Put what `write` writes into a file, or leave the old one. Raises InputError, and what `write` raises."""
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            write(file)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{called or path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
