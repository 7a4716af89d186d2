"""Look-ahead, history and step of nets along time, in samples and in milliseconds."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from shared.commands import run
from torch import nn

import overlapcalc as oc


def behind(kernel: int, stride: int = 1) -> nn.Module:
    """Reads `kernel` samples that end with the last one of its own place."""
    return nn.Sequential(nn.ConstantPad1d((kernel - stride, 0), 0.0), nn.Conv1d(1, 1, kernel, stride=stride))


@pytest.mark.parametrize(
    ("net", "ahead", "back"),
    [
        (behind(9), 0, 8),
        (nn.Sequential(behind(9), nn.Conv1d(1, 1, 3, padding=1)), 1, 9),
        (nn.Conv1d(1, 1, 5), 4, 0),  # without padding, output 0 reads samples 0 to 4
        (behind(6, stride=4), 0, 2),
        (nn.Sequential(behind(6, stride=4), nn.Upsample(scale_factor=4)), 3, 5),  # output 0 waits for sample 3
    ],
)
def test_look_ahead_and_history(net: nn.Module, ahead: int, back: int):
    axis = oc.analyze(net, (1, 1, 64))["L"]
    assert (axis.look_ahead, axis.history) == (ahead, back)
    worst = [(axis.reads(o, o + 1), axis.place(o)) for o in range(40, 40 + 4)]
    assert max(read.stop - place.stop for read, place in worst) == ahead
    assert max(place.start - read.start for read, place in worst) == back


def test_the_place_of_an_output_does_not_depend_on_what_it_reads():
    axis = oc.analyze(nn.Sequential(behind(9), nn.AvgPool1d(4)), (1, 1, 64))["L"]
    assert axis.scale == Fraction(4)
    assert [tuple(axis.place(o)) for o in range(3)] == [(0, 4), (4, 8), (8, 12)]
    finer = oc.analyze(nn.Upsample(scale_factor=2), (1, 1, 64))["L"]
    assert [tuple(finer.place(o)) for o in range(4)] == [(0, 1), (0, 1), (1, 2), (1, 2)]


@pytest.fixture
def models(tmp_path: Path) -> str:
    (tmp_path / "m.py").write_text(
        "from torch import nn\n"
        "audio = nn.Sequential(nn.ConstantPad1d((5, 0), 0.0), nn.Conv1d(1, 1, 6, stride=4), nn.Conv1d(1, 1, 3, padding=1))\n"
        "video = nn.Conv3d(1, 1, (5, 3, 3), padding=(2, 1, 1))\n"
    )
    return f"{tmp_path}/m.py"


def test_audio(models: str):
    """Output o reads [4 (o - 1) - 5, 4 (o + 1) + 1), and its place is [4 o, 4 o + 4)."""
    given = ("analyze", f"{models}:audio", "--input", "1x1x64", "--rate", "16000")
    said = run(*given).stdout
    for text in ("1 sample, 0.0625 ms along L", "9 samples, 0.5625 ms along L", "4 samples, 0.25 ms along L"):
        assert text in said
        assert text in run(*given, "--format", "markdown").stdout
    data = json.loads(run(*given, "--format", "json").stdout)
    assert data["pairs"][0]["axes"]["L"]["time"] == {
        "look_ahead": {"samples": 1, "ms": 0.0625},
        "history": {"samples": 9, "ms": 0.5625},
        "step": {"samples": 4, "ms": 0.25},
    }


def test_video(models: str):
    said = run("analyze", f"{models}:video", "--input", "1x1x16x16x16", "--fps", "25").stdout
    assert said.count("2 samples, 80 ms along D") == 2
    assert "ms along H" not in said


def test_refused(models: str):
    done = run("analyze", f"{models}:audio", "--input", "1x1x64", "--fps", "25")
    assert done.returncode == 2
    assert "--fps is of the axis D; this net is analysed along L" in done.stderr
    assert run("analyze", f"{models}:audio", "--rate", "0").returncode == 2
