"""Guarded models as tests: `pytest --overlapcalc`. Registered by pytest_overlapcalc.py if that option is given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..errors import Argument, OverlapcalcError
from . import check
from .checking import no_longer_configured
from .config import Config, find_config, read_config
from .problems import problems


class Guard:
    """The hooks. A wrong configuration ends the session before it begins."""

    def __init__(self, config: pytest.Config) -> None:
        start, named = config.invocation_params.dir, config.getoption("--overlapcalc-config")
        try:
            self.models = read_config(find_config(start) if named is None else start / named)
        except OverlapcalcError as error:
            raise pytest.UsageError(error.worded(_option)) from error

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        return self._collector(parent) if file_path.resolve() == self.models.file.resolve() else None

    @pytest.hookimpl(tryfirst=True)  # before -k, -m and --lf choose
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Adds the models: their configuration is seldom among the files that pytest was asked to collect."""
        if not any(isinstance(item, GuardedItem) for item in items):
            items.extend(self._collector(session).collect())

    def _collector(self, parent: pytest.Collector) -> GuardFile:
        found: GuardFile = GuardFile.from_parent(parent, path=self.models.file)
        found.models = self.models
        return found


def _option(argument: Argument) -> str:
    """An argument as an option of pytest. Only `config` can be one."""
    return f"--overlapcalc-{argument.name} {argument.value}"


class GuardFile(pytest.File):
    """The configuration as a test file: one test per model, and one for what is left over in the lock."""

    models: Config

    def collect(self) -> Iterator[GuardedItem]:
        for model in self.models.models:
            yield GuardedItem.of(self, model.name, model.line)
        if self.models.lock.is_file():
            yield LeftOver.of(self, self.models.lock.name, 1)


class GuardedItem(pytest.Item):
    """One guarded model."""

    models: Config
    line: int

    @classmethod
    def of(cls, parent: GuardFile, name: str, line: int) -> GuardedItem:
        found: GuardedItem = cls.from_parent(parent, name=name)
        found.models, found.line = parent.models, line
        return found

    def runtest(self) -> None:
        found = check(self.models, models=[self.name], keep=False)
        if not found.holds:
            said = [f"{problem.message}\n  at {problem.file}:{problem.line}" for problem in problems(found)]
            raise DoesNotHold("\n".join(said))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What does not hold, without a traceback of our own code."""
        if isinstance(excinfo.value, (DoesNotHold, OverlapcalcError)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[os.PathLike[str], int, str]:
        return self.path, self.line - 1, f"guarded model {self.name}"


class LeftOver(GuardedItem):
    """The lock has no model that is no longer configured."""

    def runtest(self) -> None:
        gone = no_longer_configured(self.models)
        if gone:
            raise DoesNotHold(
                f"{', '.join(gone)}: in {self.name}, but no longer configured in {self.models.file.name}; "
                "`overlapcalc lock` drops it"
            )


class DoesNotHold(Exception):  # noqa: N818 - a test's verdict
    """A claim or the lock does not hold."""
