"""Ctrl-C and SIGTERM: what has been found is printed, one line says what is missing, and the exit code which it was."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal

import pytest
import torch
from shared.commands import run
from shared.forked import forked

import overlapcalc as oc
from overlapcalc.cli import interrupted
from overlapcalc.engine.plan import _Planner
from overlapcalc.prove.seams import _Seams

NET = """import os, signal
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 5, padding=2)

    def forward(self, x):
        if x.shape[-1] != 64:
            {stop}
        return self.conv(x)
"""
CTRL_C, TERM = "raise KeyboardInterrupt", "os.kill(os.getpid(), signal.SIGTERM)"
PLAIN = "from torch import nn\n\ndef net():\n    return nn.Conv1d(1, 1, 5, padding=2)\n"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "m.py").write_text(NET.format(stop=CTRL_C))
    (tmp_path / "term.py").write_text(NET.format(stop=TERM))
    (tmp_path / "plain.py").write_text(PLAIN)
    return tmp_path


def test_an_interrupted_analysis_prints_the_answers_of_this_size(place):
    done = run("analyze", "m.py:Net", "--input", "1x1x64", cwd=place)
    assert done.returncode == 130
    assert "L: context 2 before, 2 after" in done.stdout
    assert "this size alone" in done.stdout
    assert done.stderr == "overlapcalc: interrupted; missing: the comparison with other sizes\n"


def test_a_terminated_analysis_has_an_exit_code_of_its_own(place):
    code, said = forked(lambda: oc_main(place, "analyze", "term.py:Net", "--input", "1x1x64"))
    assert code == 143
    assert "L: context 2 before, 2 after" in said
    assert said.endswith("overlapcalc: terminated; missing: the comparison with other sizes\n")


def oc_main(place, *arguments):
    from overlapcalc.cli import main

    os.chdir(place)
    return main(list(arguments))


def test_an_interrupted_report_as_json_says_so(place):
    done = run("analyze", "m.py:Net", "--input", "1x1x64", "--format", "json", "--output", "a.json", cwd=place)
    found = json.loads(done.stdout)
    assert (done.returncode, found["interrupted"], found["size_verified"]) == (130, True, False)
    assert found["pairs"][0]["axes"]["L"]["context"] == {"before": 2, "after": 2, "total": 4}
    assert found["missing"][-1] == "a.json, left as it was"
    assert not (place / "a.json").exists()


def test_an_interrupted_verification_prints_the_proofs_that_were_made(place, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("overlapcalc.prove.verify.exact_twin", stop)
    done = run("verify", "plain.py:net", "--input", "1x1x64", "--block", "16", cwd=place)
    assert done.returncode == 130
    assert re.findall(r"^proved +(\w+):", done.stdout, re.MULTILINE) == ["dependency", "minimality"]
    assert done.stderr == "overlapcalc: interrupted; missing: poisoned borders, exact twin, values\n"


def test_an_interrupted_error_curve_prints_its_rows(place, monkeypatch):
    own, most = _Seams._run, iter(range(2))

    def stop(self, sides):
        if next(most, None) is None:
            raise KeyboardInterrupt
        return own(self, sides)

    monkeypatch.setattr("overlapcalc.prove.seams._Seams._run", stop)
    done = run("error", "plain.py:net", "--input", "1x1x64", "--block", "16", cwd=place)
    assert done.returncode == 130
    assert re.findall(r"^(\d, \d) ", done.stdout, re.MULTILINE) == ["0, 0", "1, 1"]  # of three, 2, 2 is exact
    assert "missing: the tiles that had not been run" in done.stderr


def test_an_interrupted_plan_for_a_budget_prints_the_best_so_far(place, monkeypatch):
    own = _Planner._fitting

    def stop(self, budget, schedule, most):
        if schedule == "trim":
            raise KeyboardInterrupt
        return own(self, budget, schedule, most)

    monkeypatch.setattr("overlapcalc.engine.plan._Planner._fitting", stop)
    done = run("plan", "plain.py:net", "--input", "1x1x64", "--memory", "1MiB", cwd=place)
    assert done.returncode == 130
    assert "schedule crop" in done.stdout
    assert "one of which may take less work" in done.stderr


def test_an_interrupted_comparison_of_schedules_keeps_the_plan(place, monkeypatch):
    own, asked = oc.plan.__globals__["plan_of"], iter(range(3))

    def stop(*arguments, **options):
        if next(asked, None) is None:
            raise KeyboardInterrupt
        return own(*arguments, **options)

    monkeypatch.setattr("overlapcalc.engine.plan.plan_of", stop)
    monkeypatch.setattr("overlapcalc.engine.compare.plan_of", stop)
    done = run("plan", "plain.py:net", "--input", "1x1x64", "--block", "16", "--compare", cwd=place)
    assert done.returncode == 130
    assert re.findall(r"^(crop|trim|stream|passes) ", done.stdout, re.MULTILINE) == ["crop", "trim"]
    assert "missing: the comparison with the schedules that had not been planned" in done.stderr


def test_a_signal_that_is_lost_is_raised_again_at_the_next_stage():
    with interrupted.terminable() as stopping:
        with contextlib.suppress(interrupted.Terminated):
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(1000):
                pass
        with pytest.raises(interrupted.Terminated):
            stopping("the next stage")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_what_a_listener_raises_ends_a_call():
    def stop(kind, result):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), oc.telling(found=stop):
        oc.analyze(torch.nn.Conv1d(1, 1, 3), (1, 1, 32))
