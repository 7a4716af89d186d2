"""`overlapcalc error`: the curve as a table and as JSON, of files and of noise."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from shared.commands import run

import overlapcalc as oc
from examples.unet import UNet
from overlapcalc.planning.shorter import ShorterTiles

MODEL = "examples/unet.py:UNet"


@pytest.fixture
def blur(tmp_path: Path) -> str:
    """An average of nine ones: tiles with m samples beside the block are (4 - m)/9 off."""
    (tmp_path / "blur.py").write_text("from torch import nn\ndef make():\n    return nn.AvgPool1d(9, 1, 4)\n")
    np.save(tmp_path / "ones.npy", np.ones((1, 1, 64), np.float32))
    return f"{tmp_path / 'blur.py'}:make"


def test_an_image_and_a_threshold(blur, tmp_path):
    done = run("error", blur, "--in", str(tmp_path / "ones.npy"), "--layout", "NCL", "--block", "16", "--below", "0.3")
    assert (done.returncode, done.stderr) == (0, "")
    rows = re.findall(r"^(\d), \1( \(exact\))? +(\d+) +(\S+) ", done.stdout, re.MULTILINE)
    wanted = [(str(m), " (exact)" if m == 4 else "", str(2 * m), f"{(4 - m) / 9:.2g}") for m in range(5)]
    assert rows == wanted
    said = "below 0.3 from 2 before, 2 after (overlap 4) on, and on all longer tiles that were tried"
    assert said in " ".join(done.stdout.split())
    assert "measured on this image with these weights" in done.stdout.replace("\n", " ")


def test_what_tiles_hold_beyond_whole_steps_is_said(tmp_path):
    """A mean of two samples each, then of three, on 33 samples: tiles have odd lengths, as the image has. So on tiles
    of the bare block, of 8, there is 1 sample more, of which the mean of two makes nothing."""
    (tmp_path / "half.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.AvgPool1d(2, 2), nn.AvgPool1d(3, 1, 1))\n"
    )
    np.save(tmp_path / "ones.npy", np.ones((1, 1, 33), np.float32))
    done = run("error", f"{tmp_path / 'half.py'}:make", "--in", str(tmp_path / "ones.npy"), "--layout", "NCL",
               "--block", "8")  # fmt: skip
    assert "after a block, every tile has 1 sample along L more than the table says" in " ".join(done.stdout.split())
    found = oc.error_curve(torch.nn.AvgPool1d(2, 2), torch.ones(1, 1, 32), block=8)
    assert found.rest == {}


def test_json_of_noise_and_weights(tmp_path):
    torch.manual_seed(5)
    net = UNet()
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    out = tmp_path / "curve.json"
    done = run("error", MODEL, "--weights", str(tmp_path / "weights.pt"), "--image", "32x48", "--block", "8", "--format",
               "json", "--output", str(out), "--axis", "H", "--below", "1/255")  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    found = json.loads(out.read_text())
    assert found["random_inputs"] == ["x"]
    assert (found["block"], found["blocks"], found["below"]) == ({"H": 8}, 6, 1 / 255)
    assert [p["tile"]["H"]["total"] for p in found["points"]] == [0, 8, 16, 24]
    wanted = oc.error_curve(net, (1, 3, 48, 32), block=8, axes="H")
    for point, same in zip(found["points"], wanted.points, strict=True):
        assert point["outputs"]["output"]["largest"] == pytest.approx(same.largest, rel=1e-6, abs=1e-12)


def test_an_obstacle_is_named_and_measured():
    done = run("error", "examples/obstacle.py:Denoiser", "--image", "32x32")
    assert done.returncode == 0
    assert "the exact tile is the whole image, because of" in done.stdout
    assert "attention.squeeze: adaptive_avg_pool2d on H and W" in done.stdout
    assert "beside that, the worst output reaches 2 before, 2 after" in done.stdout
    assert "x: random, normal noise" in done.stdout
    assert "no --weights" in done.stderr


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--in", "none.npy"], "--in none.npy: there is no such file"),
        (["--in", "x.npy", "--input", "1x3x32x32"], "--in and --input exclude each other"),
        (["--in", "x.npy", "--image", "32x32"], "--in and --image exclude each other"),
        (["--below", "none"], "expected an error above 0, such as 1e-3 or 1/255, not 'none'"),
        (["--below", "-1"], "expected an error above 0"),
        (["--input", "1x3x32x32", "--block", "64"], "one block takes the whole image"),
        (["--input", "1x3x32x32", "--device", "tpu"], "--device tpu"),
    ],
)
def test_refusals(more, words):
    done = run("error", MODEL, *more)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_an_exact_tile_that_is_none_is_exit_code_1(monkeypatch):
    monkeypatch.setattr(ShorterTiles, "exact", {"H": (4, 4), "W": (4, 4)})
    done = run("error", MODEL, "--input", "1x3x32x32", "--block", "8")
    assert done.returncode == 1
    assert "the tile that should be exact is not: leaves" in done.stdout
