"""What `make test` leaves to `make test-thorough`: more nets, sizes and cases of what it runs a few of."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

import pytest

THOROUGH = pytest.mark.thorough


def few(values: Iterable[Any], kept: int | Iterable[Any], *, single: bool = False) -> list[Any]:
    """All values, for `parametrize`: `make test` runs so many of the first, or those that are named here.

    A value for several arguments is a tuple, or a `pytest.param`. single: tuples are values of one argument.
    """
    found, named = list(values), None if isinstance(kept, int) else list(kept)
    assert named is None or all(name in found for name in named), "what is kept is none of the values"
    return [
        value if (i < kept if isinstance(kept, int) else value in named) else _thorough(value, single)
        for i, value in enumerate(found)
    ]


def crossed(*columns: Iterable[Any]) -> list[Any]:
    """Every combination, for `parametrize` of several arguments: `make test` runs as many as the longest column has
    values, so that each value of each column is in one of them."""
    lists = [list(column) for column in columns]
    longest = max(map(len, lists))
    kept = {tuple(i % len(column) for column in lists) for i in range(longest)}
    return [
        pytest.param(*(column[i] for column, i in zip(lists, at, strict=True)), marks=() if at in kept else THOROUGH)
        for at in product(*(range(len(column)) for column in lists))
    ]


def _thorough(value: Any, single: bool) -> Any:
    if hasattr(value, "marks"):
        return pytest.param(*value.values, marks=[*value.marks, THOROUGH], id=value.id)
    return pytest.param(*(value if isinstance(value, tuple) and not single else (value,)), marks=THOROUGH)
