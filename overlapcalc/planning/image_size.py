"""The size of an image, as a user writes it."""

from __future__ import annotations

from ..errors import Argument, InputError


def parsed_image(text: str) -> tuple[int, ...]:
    """`3840x2160`, the width first, as sizes in that order. Raises InputError.

    >>> parsed_image("3840x2160")
    (3840, 2160)
    """
    parts = text.lower().split("x")
    if not 1 <= len(parts) <= 3 or not all(p.strip().isdecimal() and int(p) >= 1 for p in parts):
        raise InputError(Argument("image", text), ": expected WIDTHxHEIGHT such as 3840x2160")
    return tuple(int(p) for p in parts)
