"""The pytest plugin: guarded models as tests; nothing at all without its option."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from shared.guarded import CHAIN, Project, entry
from torch import nn

import overlapcalc as oc

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[2]
NAME = "pytest_overlapcalc"


@pytest.fixture(scope="module")
def warm() -> None:
    """pytester forgets modules that are imported inside, and torch cannot import some of its own again."""
    oc.analyze(nn.Conv2d(1, 1, 3), (1, 1, 8, 8))


@pytest.fixture
def guarded(warm: None, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with a model that holds, one that does not, and a test of its own."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.setenv("PYTEST_ADDOPTS", "")
    project = Project(pytester.path)
    project.write("net.py", CHAIN)
    project.configure(entry("good", more="max-tile = 4"), entry("bad", more="max-tile = {W = {before = 3}}"))
    project.write("tests/test_own.py", "def test_own():\n    pass\n")
    return pytester


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess(
        "-p", NAME, "-p", "no:hypothesispytest", "-p", "no:logging", "-p", "no:cacheprovider", *arguments
    )


def test_without_the_option_nothing_is_collected(guarded):
    result = run(guarded)
    result.assert_outcomes(passed=1)
    said = [line for line in result.stdout.lines if not line.startswith("plugins:")]  # pytest names what is installed
    assert not any("overlapcalc" in line for line in said)


def test_each_model_is_an_item(guarded):
    result = run(guarded, "--overlapcalc", "tests", "-v")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        ["*tests/test_own.py::test_own PASSED*", "*pyproject.toml::good PASSED*", "*pyproject.toml::bad FAILED*"]
    )


def test_a_failure_says_claim_value_layer_and_path_and_shows_no_traceback(guarded):
    said = run(guarded, "--overlapcalc", "tests").stdout.str()
    assert "guarded model bad" in said
    line = "max-tile = W 3 before does not hold for bad: W, before: 4; `b`: adds 2 of the context of 3; "
    assert line in said
    assert "path: b (+2), a (+1)" in said
    number = CHAIN.splitlines().index("        return self.b(y)") + 1
    assert f"at net.py:{number}" in said
    assert "Traceback" not in said
    assert "overlapcalc/" not in said
    assert ".py:" not in said.replace(f"net.py:{number}", "")


def test_a_failure_shows_no_log_of_the_tracer(guarded):
    """But what the model logs, it does."""
    Project(guarded.path).write("net.py", f"import logging\nlogging.getLogger('own').warning('of mine')\n{CHAIN}")
    result = guarded.runpytest_inprocess(
        "-p", NAME, "-p", "no:hypothesispytest", "-p", "no:cacheprovider", "--overlapcalc"
    )
    result.assert_outcomes(passed=2, failed=1)
    assert "of mine" in result.stdout.str()
    result.stdout.no_fnmatch_line("*torch*")


@pytest.mark.parametrize(
    ("arguments", "outcomes"),
    [
        ((".",), {"passed": 2, "failed": 1}),
        (("pyproject.toml",), {"passed": 1, "failed": 1}),
        (("pyproject.toml::good",), {"passed": 1}),
        (("tests", "-k", "good"), {"passed": 1, "deselected": 2}),
        (("tests", "--overlapcalc-config", "other.toml"), {"passed": 2}),
    ],
    ids=lambda value: " ".join(value),
)
def test_items_are_chosen_as_others_are(guarded, arguments, outcomes):
    """Each model once, wherever the configuration lies."""
    Project(guarded.path).write("other.toml", entry("only"))
    run(guarded, "--overlapcalc", *arguments).assert_outcomes(**outcomes)


def test_the_lock_is_held_against_the_models(guarded):
    project = Project(guarded.path)
    project.configure(entry("good"), entry("bad"))
    assert project.lock().code == 0
    run(guarded, "--overlapcalc", "tests").assert_outcomes(passed=4)
    project.write("net.py", CHAIN.replace("k=5", "k=7"))
    project.configure(entry("good"))
    result = run(guarded, "--overlapcalc", "tests")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["*good needs something else than overlapcalc.lock says*`b` kernel 5 to 7*"])
    result.stdout.fnmatch_lines(["bad: in overlapcalc.lock, but no longer configured*"])


def test_a_model_that_cannot_be_loaded_fails_alone(guarded):
    Project(guarded.path).write("broken.py", "raise SystemExit(0)\n")
    Project(guarded.path).configure(entry("good"), entry("broken", "broken.py:Net"))
    result = run(guarded, "--overlapcalc", "tests")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["broken cannot be analysed: *SystemExit*"])


def test_a_wrong_configuration_ends_the_session(guarded):
    Project(guarded.path).configure(entry(more="max_tile = 3"))
    result = run(guarded, "--overlapcalc", "tests")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*models.net.max_tile: unknown key (did you mean max-tile?)*"])


def test_unused_it_loads_neither_torch_nor_the_package(tmp_path):
    (tmp_path / "test_nothing.py").write_text(
        "import sys\ndef test_nothing():\n"
        "    assert 'pytest_overlapcalc' in sys.modules\n"
        "    assert not {'torch', 'overlapcalc', 'rich', 'networkx'} & set(sys.modules)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", NAME, "-p", "no:hypothesispytest", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_the_plugin_is_an_entry_point_of_its_own_name():
    """So that `-p pytest_overlapcalc` and the entry point are one plugin to pytest, not two."""
    text = (ROOT / "pyproject.toml").read_text()
    assert f'[project.entry-points.pytest11]\n{NAME} = "{NAME}"\n' in text
    assert f'py-modules = ["{NAME}"]' in text
