"""Amounts of memory: "2GiB" and back."""

from __future__ import annotations

import re

from ..errors import Argument, InputError

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
         "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40, "K": 2**10, "M": 2**20, "G": 2**30}  # fmt: skip


def bytes_of(amount: int | str, argument: str = "memory", *, least: int = 1) -> int:
    """A number of bytes, or a text such as "2GiB" or "500 MB". Raises InputError, which names the argument.

    >>> bytes_of("2GiB"), bytes_of("500 MB")
    (2147483648, 500000000)
    """
    if isinstance(amount, int) and not isinstance(amount, bool):
        found = amount
    else:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(amount))
        if match is None or match[2].upper() not in UNITS:
            raise InputError(Argument(argument, amount), ": expected an amount such as 2GiB or 500MB")
        found = int(float(match[1]) * UNITS[match[2].upper()])
    if found < least:
        raise InputError(Argument(argument, amount), f": expected at least {'one byte' if least else 'no bytes, 0'}")
    return found


def bytes_text(amount: int) -> str:
    """Three figures and a binary unit.

    >>> bytes_text(1610612736)
    '1.5 GiB'
    """
    size, unit = float(amount), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.3g} {unit}"
