"""The values that a configuration may have: how each is read, and what is allowed, in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from ..analysis.spelled import Entry, value_of
from ..errors import InputError
from ..ops.layout import AXES
from ..planning.byte_size import bytes_of
from ..planning.image_size import parsed_image
from ..planning.options import SCHEDULES
from .claims import WrongValue


def _text(value: Any) -> str:
    if not isinstance(value, str) or not sayable(value):
        raise WrongValue
    return value


def sayable(text: str) -> bool:
    """Whether a name fits into one-line reports."""
    return bool(text.strip()) and text.isprintable()


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise WrongValue
    return value


def _inputs(value: Any) -> tuple[tuple[int, ...] | Entry, ...]:
    """One shape or a list of them, each a text or a list of sizes; or a table of what forward takes.

    >>> _inputs("1x3x256x256"), _inputs([[1, 3, 64], "1x8x32"])
    (((1, 3, 256, 256),), ((1, 3, 64), (1, 8, 32)))
    >>> _inputs({"x": "1x3x64", "scale": 2})
    (Entry(path=('x',), value=(1, 3, 64)), Entry(path=('scale',), value=2))
    """
    if isinstance(value, dict) and value:
        return tuple(Entry((key,), _given(one)) for key, one in value.items())
    shapes = value if isinstance(value, list) and value and not all(_size(n) for n in value) else [value]
    return tuple(_shape(shape) for shape in shapes)


def _given(value: Any) -> Any:
    """A shape, a number, a text, or a table or list of these; "none" is None."""
    if isinstance(value, dict):
        return {key: _given(one) for key, one in value.items()}
    if isinstance(value, list):
        return tuple(value) if value and all(_size(n) for n in value) else [_given(one) for one in value]
    return value_of(value) if isinstance(value, str) else value


def _shape(value: Any) -> tuple[int, ...]:
    if isinstance(value, str) and re.fullmatch(r"[0-9]+(x[0-9]+)+", value):
        value = [int(n) for n in value.split("x")]
    if not isinstance(value, list) or len(value) < 2 or not all(_size(n) for n in value):
        raise WrongValue
    return tuple(value)


def _size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _texts(value: Any) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not listed:
        raise WrongValue
    return tuple(_text(item) for item in listed)


def _axes(value: Any) -> tuple[str, ...]:
    found = _texts(value)
    if not set(found) <= set(AXES):
        raise WrongValue
    return found


def _image(value: Any) -> tuple[int, ...]:
    if isinstance(value, list) and 1 <= len(value) <= 3 and all(_size(n) for n in value):
        return tuple(value)
    if not isinstance(value, str):
        raise WrongValue
    try:
        return parsed_image(value)
    except InputError as error:
        raise WrongValue from error


def _block(value: Any) -> int | dict[str, int]:
    if _size(value):
        return int(value)
    if not isinstance(value, dict) or not value or not set(value) <= set(AXES) or not all(map(_size, value.values())):
        raise WrongValue
    return value


def _schedule(value: Any) -> str:
    if value not in SCHEDULES:
        raise WrongValue
    return str(value)


def _amount(value: Any) -> int | str:
    """None at all is an amount, too."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise WrongValue
    try:
        bytes_of(value, least=0)
    except InputError as error:
        raise WrongValue from error
    return value


def _rate(value: Any) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise WrongValue
    return Fraction(str(value))


READERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "name": ("a text, not empty, of characters that can be printed in one line", _text),
    "spec": ('a text such as "model.py:Net", "package.module:Net" or "net.pt2"', _text),
    "kwargs": ("a table of arguments of the class or function", _table),
    "input": (
        'a shape such as "1x3x256x256" or [1, 3, 256, 256], a list of shapes, or a table such as '
        '{x = "1x3x256x256", scale = 2}',
        _inputs,
    ),
    "layout": ('a text such as "NHWC", or one for each input', _texts),
    "axes": (f"a list of {', '.join(AXES)}", _axes),
    "rate": ("a number of samples per second along L, such as 48000", _rate),
    "fps": ("a number of frames per second along D, such as 25 or 23.976", _rate),
    "image": ('a text such as "3840x2160", the width first, or [3840, 2160]', _image),
    "block": ("a number of samples of at least 1, or a table such as {W = 256}", _block),
    "schedule": (" or ".join(f'"{name}"' for name in SCHEDULES), _schedule),
    "disk": ('an amount such as "2GiB", or a number of bytes', _amount),
    "spill": ("a text: the folder for what passes store", _text),
}
