"""What the report says of nets that read nothing ahead, or little, and all that lies behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shared.commands import run

NETS = (
    "import torch\nfrom torch import nn\n"
    "class Sum(nn.Module):\n    def forward(self, x):\n        return x.cumsum(-1)\n"
    "class Flipped(nn.Module):\n    def forward(self, x):\n        return x.flip(-1).cumsum(-1).flip(-1)\n"
    "near = nn.Sequential(nn.Conv1d(2, 2, 5, padding=2), Sum())\n"
    "late = nn.Sequential(nn.ConstantPad1d((4, 0), 0.0), nn.Conv1d(2, 2, 5), Sum())\n"
    "flipped = Flipped()\n"
)


@pytest.fixture
def nets(tmp_path: Path) -> str:
    (tmp_path / "m.py").write_text(NETS)
    return f"{tmp_path / 'm.py'}:"


@pytest.mark.parametrize("form", ["table", "markdown"])
def test_the_verdict_says_it(nets: str, form: str):
    def said(name: str, *more: str) -> str:
        done = run("analyze", nets + name, "--input", "1x2x40", "--format", form, *more)
        assert done.returncode == 3  # it is an obstacle to tiles all the same
        return " ".join(done.stdout.replace("\\", "").split())

    through = "unbounded behind: all before, through the state of"
    assert f"L: causal in what it reads ahead (look-ahead 0), {through} 2 (cumsum)." in said("late")
    assert f"L: an output reads at most 2 samples after its own place, {through} 1 (cumsum)." in said("near")
    assert "2 samples after its own place (0.25 ms)," in said("near", "--rate", "8000")
    assert "unbounded behind" not in said("flipped")


def test_json_says_it(nets: str):
    def axis(name: str, *more: str) -> dict:
        done = run("analyze", nets + name, "--input", "1x2x40", "--format", "json", *more)
        return json.loads(done.stdout)["pairs"][0]["axes"]["L"]

    found = axis("near", "--rate", "8000")
    assert found["one_sided"] == {"scale": "1", "look_ahead": 2, "history": None, "carried": ["1"]}
    assert found["time"]["look_ahead"] == {"samples": 2, "ms": 0.25}
    assert "history" not in found["time"]
    assert axis("flipped")["one_sided"] is None
