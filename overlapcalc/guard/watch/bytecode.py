"""Python opens bytecode where it means the source."""

from __future__ import annotations

import importlib.util
import os

from ..digests import Mark, mark_of


def source_of(place: str) -> str:
    """The source of bytecode, if there is one; any other file itself."""
    if not place.endswith(".pyc"):
        return place
    try:
        source = importlib.util.source_from_cache(place)
    except ValueError:
        return place
    return source if os.path.isfile(source) or not os.path.isfile(place) else place


def other_bytecode(place: str) -> str:
    """Bytecode that Python would run without making sure that it matches the source; "" where there is none.

    Python compares only the time and the size of the source, so it misses a change that keeps both; for other kinds of
    bytecode it compares nothing, or a hash that anybody can write there.
    """
    source = source_of(place)
    if not source.endswith(".py"):
        return ""
    try:
        made = importlib.util.cache_from_source(source)
        marks = mark_of(os.stat(made)), mark_of(os.stat(source))
    except (OSError, NotImplementedError, ValueError):
        return ""
    key = made, *marks
    if key not in _known:
        _known[key] = _of_its_source(made, *marks)
    return "" if _known[key] else made


_known: dict[tuple[str, Mark, Mark], bool] = {}


def _of_its_source(made: str, mark: Mark, source: Mark) -> bool:
    try:
        with open(made, "rb") as file:
            head = file.read(16)
    except OSError:
        return False
    flags, seconds, size = (int.from_bytes(head[i : i + 4], "little") for i in (4, 8, 12))
    now = source[3] // 1_000_000_000 & 0xFFFFFFFF, source[2] & 0xFFFFFFFF
    if not flags and (seconds, size) != now:
        return True  # made from another source, so Python does not use it
    return not flags and max(source[3], source[4]) <= max(mark[3], mark[4])
