"""A text file that appears under its name only when it is complete."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from .errors import InputError


def write_complete(path: Path, text: str, *, called: str = "") -> None:
    """Write a file in UTF-8, with the ends of lines that `text` has, or leave the old one. Raises InputError.

    called: what an error calls it, its path when absent.
    """
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise InputError(f"{called or path}: {error.strerror or error}") from error
