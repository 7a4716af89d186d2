"""A shape, as a caller gives it."""

from __future__ import annotations

from operator import index
from typing import Any

from ..errors import InputError


def as_shape(given: Any) -> tuple[int, ...]:
    """The shape of one input, out of whole numbers of any kind (numpy's, say). Raises InputError.

    >>> as_shape([1, 3, 64, 64])
    (1, 3, 64, 64)
    """
    if not isinstance(given, (list, tuple)) or not given:
        raise _unexpected(given)
    sizes = []
    for n in given:
        try:
            sizes.append(0 if isinstance(n, bool) else index(n))
        except TypeError:
            raise InputError(f"shape {given!r}: {n!r} is not a whole number") from None
    if min(sizes) < 1:
        raise _unexpected(given)
    return tuple(sizes)


def _unexpected(given: Any) -> InputError:
    said = repr(given) if isinstance(given, (list, tuple, int, float, str)) else f"of a {type(given).__name__}"
    return InputError(f"input shape {said}: expected sizes of at least 1, such as (1, 3, 256, 256)")
