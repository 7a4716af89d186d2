"""Packages that only the examples need."""

from __future__ import annotations

import importlib
from typing import Any

from overlapcalc import InputError


def extra(name: str) -> Any:
    """The module. Raises InputError with what to install."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"this needs {name.partition('.')[0]}: pip install overlapcalc[papers]") from error
