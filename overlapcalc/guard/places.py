"""Whose file it is: Python's or a package's, ours, or a project's."""

from __future__ import annotations

import os
import sysconfig
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent


@cache
def installed(place: str) -> bool:
    """Whether a file belongs to Python, to an installed package, or to us."""
    file = Path(os.path.abspath(place))
    if {"site-packages", "dist-packages"} & set(file.parts):
        return True
    return any(file.is_relative_to(root) or file.resolve().is_relative_to(root) for root in _ROOTS)


_ROOTS = (
    PACKAGE,
    *(Path(sysconfig.get_paths()[name]).absolute() for name in ("stdlib", "platstdlib", "purelib", "platlib")),
)
