"""The stage of a long command: one line, on a terminal alone, after a while, erased at the end."""

from __future__ import annotations

import io
import sys
import time

import pytest
from shared.commands import run
from torch import nn

import overlapcalc as oc
from overlapcalc.cli import progress

SLOW = """import time
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 5, padding=2)

    def forward(self, x):
        time.sleep(0.3)
        return self.conv(x)
"""


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def slow(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    return tmp_path


def test_a_terminal_shows_the_stages_and_nothing_stays(slow, monkeypatch):
    err = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "PATIENCE", 0.05)
    monkeypatch.setattr("overlapcalc.cli.stages", lambda: on(err))
    done = run("analyze", "slow.py:Net", "--input", "1x1x64", cwd=slow)
    assert done.returncode == 0
    lines = err.getvalue().split(progress.ERASED)
    assert any(line.startswith("overlapcalc: tracing at 1x1x64, ") for line in lines)
    assert lines[-1] == ""
    assert "\n" not in err.getvalue()


class on:  # noqa: N801 - as the function that it stands for
    """`stages` with another standard error, which `run` of these tests replaces."""

    def __init__(self, err):
        self.err = err

    def __enter__(self):
        self.kept, sys.stderr = sys.stderr, self.err
        self.inner = progress.stages()
        return self.inner.__enter__()

    def __exit__(self, *error):
        self.inner.__exit__(*error)
        sys.stderr = self.kept


def test_elsewhere_nothing_is_said(slow, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.05)
    assert run("analyze", "slow.py:Net", "--input", "1x1x64", cwd=slow).stderr == ""


def test_a_quick_command_says_nothing(monkeypatch):
    err = Terminal()
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("TERM", "xterm")
    with progress.stages() as line:
        line("tracing")
        time.sleep(0.1)
    assert err.getvalue() == ""


def test_the_library_tells_its_stages_and_prints_nothing(capfd):
    said = []
    with oc.telling(said.append):
        oc.plan(nn.Conv1d(1, 1, 5, padding=2), (1, 1, 64), memory="1MiB")
    stages = " ".join(said)
    for word in ("tracing at 1x1x64", "following what is read at 1x1x64", "comparing with", "looking for blocks"):
        assert word in stages
    count = len(said)
    oc.analyze(nn.Conv1d(1, 1, 5, padding=2), (1, 1, 64))
    assert len(said) == count
    assert capfd.readouterr() == ("", "")
