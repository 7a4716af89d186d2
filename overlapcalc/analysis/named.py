"""Mappings by name that also take an index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from ..errors import AmbiguousPair, InputError

T = TypeVar("T")


class Named(Mapping[str, T], Generic[T]):
    """A read-only mapping by name that also takes the index of the name.

    >>> shapes = Named({"x": (1, 3, 32), "mask": (1, 1, 32)})
    >>> shapes["mask"] == shapes[1] == shapes[-1]
    True
    """

    def __init__(self, items: Mapping[str, T]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: str | int) -> T:
        if isinstance(key, int):
            return list(self._items.values())[key]
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return repr(self._items)


def choose(names: Mapping[str, Any], wanted: int | str | None, what: str) -> str:
    """The name that an index, a name or None (the only one) refers to.

    Raises AmbiguousPair, InputError.

    >>> choose({"x": None, "mask": None}, 1, "input")
    'mask'
    """
    known = list(names)
    if not known:
        raise InputError(f"there is no {what} to ask about: an obstacle stands at the first operator of every way")
    if wanted is None:
        if len(known) == 1:
            return known[0]
        raise AmbiguousPair(
            f"the net has {len(known)} {what}s: {', '.join(known)}; choose one with "
            f"between({what}=NAME), by name or index"
        )
    if isinstance(wanted, int) and -len(known) <= wanted < len(known):
        return known[wanted]
    if isinstance(wanted, str) and wanted in known:
        return wanted
    raise InputError(f"{what}={wanted!r}: there is no such {what}; the net has {', '.join(map(repr, known))}")
