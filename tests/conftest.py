"""Fixtures that several files of tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from guarded import Project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty project; our own CI may run under GitHub Actions."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    return Project(tmp_path)
