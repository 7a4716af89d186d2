"""`plan` and `run` with --pad-to-fit and --fixed-tile: what they say, and what is in the file."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from shared.commands import run

NET = """
from torch import nn
net = nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(16, 16, 3, padding=1), nn.PixelShuffle(4))
"""


@pytest.fixture
def spec(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(NET)
    return f"{tmp_path / 'net.py'}:net"


def test_plan_says_what_is_padded(spec: str) -> None:
    asked = ("plan", spec, "--input", "1x1x32x32", "--image", "77x101")
    words = " ".join(run(*asked, "--pad-to-fit", "reflect", "--fixed-tile", "64").stdout.split())
    assert "padded at the far end (reflect): input 1x1x101x77 to 1x1x104x80; cut afterwards: output 1x1x104x80" in words
    assert (
        "the result is what the whole net gives on the padded image, cut, not what it would give on the image" in words
    )
    refused = run(*asked)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "multiples of 4 from 4" in refused.stderr
    assert "an image of any size can be padded, see --pad-to-fit" in refused.stderr


@pytest.mark.parametrize("options", [["--block", "16"], ["--fixed-tile", "40"]])
def test_run_pads_cuts_and_says_so(tmp_path: Path, spec: str, options: list[str]) -> None:
    net, x = runpy.run_path(str(tmp_path / "net.py"))["net"].eval(), torch.rand(1, 1, 51, 13)
    torch.save(net.state_dict(), tmp_path / "w.pt")
    np.save(tmp_path / "in.npy", x[0].numpy().astype("float64"))
    to = (52, 40) if "40" in options else (52, 16)
    done = run("run", spec, "--weights", str(tmp_path / "w.pt"), "--in", str(tmp_path / "in.npy"),
               "--out", str(tmp_path / "out.npy"), "--pad-to-fit", "replicate", *options)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"overlapcalc: padded at the far end (replicate): input 1x1x51x13 to 1x1x{to[0]}x{to[1]}; cut" in done.stderr
    with torch.no_grad():
        wanted = net(F.pad(x, (0, to[1] - 13, 0, to[0] - 51), mode="replicate"))[..., :51, :13].numpy()
    found = np.load(tmp_path / "out.npy")
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 1e-5


def test_verify_proves_it_on_the_padded_image(spec: str) -> None:
    asked = ("verify", spec, "--input", "1x1x32x32", "--image", "30x29", "--block", "8")
    done = run(*asked, "--pad-to-fit", "reflect")
    assert done.returncode == 0, done.stderr
    assert "input 1x1x32x32 in 16 blocks" in done.stdout
    assert "padded at the far end (reflect): input 1x1x29x30 to 1x1x32x32" in " ".join(done.stdout.split())
    refused = run(*asked)
    assert refused.returncode == 2
