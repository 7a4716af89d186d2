"""Whose code is it, and what does it mention?"""

from __future__ import annotations

import sys
from functools import cache
from types import CodeType


@cache
def library(module: str | None) -> bool:
    """Whether code belongs to Python, torch or numpy, which is taken for what it is."""
    top = (module or "").partition(".")[0]
    return top in ("torch", "numpy", "overlapcalc") or (top in sys.stdlib_module_names and top != "__main__")


@cache
def installed(file: str) -> bool:
    return "/site-packages/" in file or "/dist-packages/" in file


@cache
def names_in(code: CodeType) -> tuple[str, ...]:
    """All names that code mentions, and that of the functions inside it."""
    found = dict.fromkeys(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= dict.fromkeys(names_in(constant))
    return tuple(found)
