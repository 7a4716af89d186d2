"""What `make test` leaves to `make test-thorough`: more nets, sizes and cases of what it runs a few of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

THOROUGH = pytest.mark.thorough


def few(values: Iterable[Any], kept: int | Iterable[Any]) -> list[Any]:
    """All values, for `parametrize`: `make test` runs so many of the first, or those that are named here.

    A value for several arguments is a tuple, or a `pytest.param`.
    """
    found, named = list(values), None if isinstance(kept, int) else list(kept)
    assert named is None or all(name in found for name in named), "what is kept is none of the values"
    stays = [i < kept if isinstance(kept, int) else value in kept for i, value in enumerate(found)]
    return [value if stay else _thorough(value) for value, stay in zip(found, stays, strict=True)]


def _thorough(value: Any) -> Any:
    if hasattr(value, "marks"):
        return pytest.param(*value.values, marks=[*value.marks, THOROUGH], id=value.id)
    return pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=THOROUGH)
