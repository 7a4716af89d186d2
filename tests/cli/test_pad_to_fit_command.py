"""`plan` and `run` with --pad-to-fit and --fixed-tile: what they say, and what is in the file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from shared.commands import run

from examples.unet import UNet

MODEL = "examples/unet.py:UNet"


def test_plan_says_what_is_padded() -> None:
    said = run("plan", MODEL, "--image", "77x101", "--pad-to-fit", "reflect", "--fixed-tile", "64").stdout
    words = " ".join(said.split())
    assert "padded at the far end (reflect): x 1x3x101x77 to 1x3x104x80; cut afterwards: output 1x4x104x80 to" in words
    assert (
        "the result is what the whole net gives on the padded image, cut, not what it would give on the image" in words
    )
    said = run("plan", MODEL, "--image", "76x100", "--pad-to-fit", "constant", "--format", "json").stdout
    assert json.loads(said)["padding"] == {
        "mode": "constant",
        "any": False,
        "inputs": {"x": {"given": [1, 3, 100, 76], "padded": [1, 3, 100, 76]}},
        "outputs": {"output": {"made": [1, 4, 100, 76], "kept": [1, 4, 100, 76]}},
    }
    refused = run("plan", MODEL, "--image", "77x101")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "multiples of 4 from 4" in refused.stderr
    assert "an image of any size can be padded, see --pad-to-fit" in refused.stderr


@pytest.mark.parametrize("options", [["--block", "16"], ["--fixed-tile", "40"]])
def test_run_pads_cuts_and_says_so(tmp_path: Path, options: list[str]) -> None:
    torch.manual_seed(5)
    net, x = UNet().eval(), torch.rand(1, 3, 51, 13)
    torch.save(net.state_dict(), tmp_path / "w.pt")
    np.save(tmp_path / "in.npy", x.numpy())
    to = (52, 40) if "40" in options else (52, 16)
    done = run("run", MODEL, "--weights", str(tmp_path / "w.pt"), "--in", str(tmp_path / "in.npy"),
               "--out", str(tmp_path / "out.npy"), "--pad-to-fit", "replicate", *options)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"overlapcalc: padded at the far end (replicate): x 1x3x51x13 to 1x3x{to[0]}x{to[1]}; cut" in done.stderr
    with torch.no_grad():
        wanted = net(F.pad(x, (0, to[1] - 13, 0, to[0] - 51), mode="replicate"))[..., :51, :13].numpy()
    found = np.load(tmp_path / "out.npy")
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 1e-5
