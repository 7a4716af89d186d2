"""What the report says of nets that read nothing ahead, or little, and all that lies behind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from shared.commands import run

NETS = (
    "import torch\nfrom torch import nn\n"
    "class Sum(nn.Module):\n    def forward(self, x):\n        return x.cumsum(-1)\n"
    "class Flipped(nn.Module):\n    def forward(self, x):\n        return x.flip(-1).cumsum(-1).flip(-1)\n"
    "near = nn.Sequential(nn.Conv1d(2, 2, 5, padding=2), Sum())\n"
    "late = nn.Sequential(nn.ConstantPad1d((4, 0), 0.0), nn.Conv1d(2, 2, 5), Sum())\n"
    "flipped = Flipped()\n"
    "class Most(nn.Module):\n    def forward(self, x):\n        return x.cummax(-1)[0]\n"
    "class Both(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    "        self.gru = nn.GRU(2, 2, batch_first=True, bidirectional=True)\n"
    "    def forward(self, x):\n        return self.gru(x.transpose(1, 2))[0]\n"
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


def test_a_net_with_a_state_alone_is_streamable_with_state(nets: str):
    """Only where one pass carries it forward: not backward, not what is held whole, not both ways."""

    def runs(name: str) -> dict:
        return json.loads(run("analyze", nets + name, "--input", "1x2x40", "--format", "json").stdout)["runs"]["L"]

    assert runs("near") == {
        "axis": "L", "how": "passes", "passes": 1, "why": "", "state": ["1"], "streamable_with_state": True,
    }  # fmt: skip
    for name in ("flipped", "Most", "Both"):
        assert (runs(name)["state"], runs(name)["streamable_with_state"]) == ([], False)
    said = " ".join(run("analyze", nets + "near", "--input", "1x2x40").stdout.split())
    assert (
        "Blocking-free: no, but streamable with state: one pass along L carries the state of 1 from band to band"
        in said
    )
    assert "streamable" not in run("analyze", nets + "flipped", "--input", "1x2x40").stdout


@pytest.mark.parametrize("name", ["near", "Most"])
def test_a_stream_of_a_cumulative_net_is_refused_with_what_runs(nets: str, name: str, tmp_path: Path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(1, 2, 40)).astype("float32"))
    ways = (
        ("plan", nets + name, "--input", "1x2x40"),
        ("run", nets + name, "--in", str(tmp_path / "x.npy"), "--out", str(tmp_path / "y.npy")),
    )
    for way in ways:
        done = run(*way, "--schedule", "stream", "--block", "16")
        assert done.returncode == 3
        assert "window" not in done.stderr
        assert "run it in order, with the state carried along the axis" in done.stderr
        how = "one pass along L runs it exactly, band by band with that state" if name == "near" else "passes run it"
        assert how in done.stderr
        assert done.stderr.endswith("--schedule passes\n")
    done = run(*ways[1], "--schedule", "passes", "--block", "16")  # and it does run
    assert done.returncode == 0
