"""TOML files -> plain data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

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
