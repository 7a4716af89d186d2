"""Inputs by name on the command line, and in the guard: entries of dictionaries and lists, numbers, texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from shared.commands import run, spawn
from shared.guarded import Project
from torch import nn

import overlapcalc as oc
from overlapcalc.analysis.spelled import Entry, arranged, entry
from overlapcalc.io.spec import load

MODEL = """
import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.wide = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 5, padding=2)

    def forward(self, batch, scale=1, mode="nearest"):
        return F.interpolate(self.conv(batch["image"]) + self.wide(batch["feats"][0]), scale_factor=scale, mode=mode)


class Times(Net):
    def forward(self, x, times):
        return self.conv(x) * times
"""
SHAPES = ("--input", "image=1x3x40x36", "--input", "feats[0]=1x3x40x36")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(MODEL)
    return tmp_path


def net(model: Path, name: str) -> nn.Module:
    return load(f"nets.py:{name}", base=model).eval()  # type: ignore[return-value, union-attr]


def test_a_report_as_a_process(model: Path) -> None:
    done = spawn("analyze", "nets.py:Net", *SHAPES, "--input", "scale=2", "--format", "json", cwd=model)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["inputs"] == {"batch.image": [1, 3, 40, 36], "batch.feats[0]": [1, 3, 40, 36]}
    assert found["fixed"] == {"scale": 2}
    assert found["outputs"] == {"output": [1, 3, 80, 72]}
    contexts = {pair["input"]: pair["axes"]["W"]["context"]["before"] for pair in found["pairs"]}
    assert contexts == {"batch.image": 1, "batch.feats[0]": 2}


def test_from_file_to_file_as_a_process(model: Path) -> None:
    x, y = torch.rand(2, 1, 3, 40, 36)
    np.save(model / "x.npy", x.numpy())
    np.save(model / "y.npy", y.numpy())
    done = spawn("run", "nets.py:Net", "--in", "batch.image=x.npy", "--in", "batch.feats[0]=y.npy", "--input", "scale=2",
                 "--block", "16", "--out", "out.npy", cwd=model)  # fmt: skip
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        whole = net(model, "Net")({"image": x, "feats": [y]}, 2)
    np.testing.assert_allclose(np.load(model / "out.npy"), whole.numpy(), rtol=0, atol=1e-5)


def test_other_commands(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    said = ("nets.py:Net", *SHAPES, "--input", "mode=bilinear", "--input", "scale=2")
    text = " ".join(run("analyze", *said, cwd=model).stdout.split())
    assert "from batch.image 1x3x40x36, batch.feats[0] 1x3x40x36 with scale=2, mode='bilinear' to output" in text
    done = run("plan", *said, "--block", "32", cwd=model)
    assert done.returncode == 0, done.stderr
    assert "reads" in done.stdout
    assert "…" not in done.stdout
    assert run("explain", *said, "--pair", "output:batch.image", cwd=model).returncode == 0
    assert run("verify", "nets.py:Times", "--input", "x=1x3x24x24", "--input", "times=3", "--block", "8",
               cwd=model).returncode == 0  # fmt: skip
    np.save(model / "x.npy", np.random.rand(3, 24, 20).astype("float32"))
    done = run("error", "nets.py:Times", "--in", "x.npy", "--input", "times=3", "--block", "8", cwd=model)
    assert done.returncode == 0, done.stderr
    assert "x 1x3x24x20 in 9 blocks" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*SHAPES, "--input", "scal=2"), "Net.forward takes batch, mode, scale, and no scal; did you mean scale?"),
        ((*SHAPES, "--input", "image=1x3x8x8"), "batch.image is given twice"),
        (
            (*SHAPES, "--input", "batch.feats[2]=1x3x8x8"),
            "batch.feats[1] is missing: a list is given from its beginning",
        ),
        ((*SHAPES, "--input", "feats=none"), "batch.feats is given twice"),
        (("--input", "scale=2"), "scale=2 given: expected a shape such as (1, 3, 256, 256), or a tensor, among the"),
        (("--input", "image=1x3x8x8"), "KeyError: 'feats'"),
        (("--input", "im age=1x3x8x8"), "--input 'im age=1x3x8x8': expected sizes of at least 1 joined by x"),
    ],
)
def test_wrong_names_are_refused(model: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run("analyze", "nets.py:Net", *arguments, cwd=model)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--in", "x.npy"), "Times.forward takes 2 inputs, 1 given; name each with --in"),
        (("--in", "x.npy", "--input", "time=2"), "Times.forward takes times, x, and no time; did you mean times?"),
        (
            ("--in", "x.npy", "--input", "1x3x8x8"),
            "--input '1x3x8x8': expected NAME=VALUE, such as scale=2; images are",
        ),
        (("--in", "x=none.npy", "--input", "times=2"), "none.npy: there is no such file"),
    ],
)
def test_wrong_names_of_a_run_are_refused(model: Path, arguments: tuple[str, ...], said: str) -> None:
    np.save(model / "x.npy", np.zeros((1, 3, 24, 20), "float32"))
    done = run("run", "nets.py:Times", *arguments, "--out", "out.npy", cwd=model)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (model / "out.npy").exists()


def test_a_table_in_the_guard(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("nets.py", MODEL)
    entry = """
[[tool.overlapcalc.models]]
name = "net"
spec = "nets.py:Net"
input = {{batch = {{image = "1x3x40x36", feats = ["1x3x40x36"]}}, scale = {scale}}}
max-context = {context}
scale = "1/2"
"""
    project.configure(entry.format(scale=2, context=2))
    assert project.lock().code == 0
    assert project.check().code == 0
    project.configure(entry.format(scale=2, context=1))
    assert "BROKEN max-context" in project.check().out
    project.configure(entry.format(scale=3, context=2))
    assert "BROKEN scale" in project.check().out


def test_names_and_places() -> None:
    class Many(nn.Module):
        def forward(self, times: int, *images: Any, **more: Any) -> None: ...

    def put(*texts: str, given: tuple[Any, ...] = ()) -> Any:
        found = [entry(text) for text in texts]
        return arranged(Many(), given, [Entry(*one) for one in found if one])

    assert put("times=2", "images[1]=b", "images[0]=a", "last=c") == (("2", "a", "b"), {"last": "c"})
    assert put("more['two words'].x[0]=c", given=("2", "a")) == (("2", "a"), {"more": {"two words": {"x": ["c"]}}})
    assert entry("image.npy") is entry("dir/x=1.npy") is None
    assert oc.analyze(nn.Conv1d(1, 1, 3), (1, 1, 8)).fixed == {}
