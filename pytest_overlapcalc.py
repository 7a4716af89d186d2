"""The pytest plugin's door: an option, and nothing else until it is given.

It lies beside the package because pytest imports its plugins at every start, and the package imports torch.
"""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("overlapcalc", "guarded models (overlapcalc)")
    group.addoption("--overlapcalc", action="store_true", help="collect each model of [tool.overlapcalc] as a test")
    group.addoption(
        "--overlapcalc-config", metavar="FILE",
        help="a TOML file with [tool.overlapcalc]; the nearest pyproject.toml that has it when absent",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--overlapcalc"):
        from overlapcalc.guard.pytest_plugin import Guard

        config.pluginmanager.register(Guard(config), "overlapcalc-guard")
