"""Fixtures that several files of tests share."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("shared")

from shared.guarded import Project  # noqa: E402
from shared.once import Traces  # noqa: E402

import overlapcalc.engine.run  # noqa: E402
import overlapcalc.prove.verify  # noqa: E402, F401 - what all tests need, once

gc.collect()
gc.freeze()  # some million objects of torch, which else are looked through again and again: a fifth of the time
gc.set_threshold(20_000, 50, 50)


LONG = frozenset(Path(__file__).with_name("long.txt").read_text().splitlines())
"""What `make test` leaves to `make test-thorough` because it takes long (see thin.py)."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid in LONG:
            item.add_marker("thorough")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty project; our own CI may run under GitHub Actions."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    return Project(tmp_path)


@pytest.fixture(scope="module")
def traces() -> Traces:
    """Of the tests of a file."""
    return Traces()


@pytest.fixture
def traced_once(traces: Traces) -> Iterator[None]:
    """Each net of the file is traced once (see shared/once.py). Nets that several tests share are made by a function
    with a cache."""
    with traces.once():
        yield
