"""`overlapcalc cone` and `overlapcalc wavefront`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shared.commands import run, spawn

CODEC = """
import torch
import torch.nn.functional as F
from torch import nn


class Causal(nn.Conv2d):
    def __init__(self, channels, out, kernel, centre):
        super().__init__(channels, out, kernel, padding=kernel // 2)
        mask = torch.zeros(kernel, kernel)
        mask[: kernel // 2] = 1
        mask[kernel // 2, : kernel // 2 + centre] = 1
        self.register_buffer("mask", mask)

    def forward(self, x):
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


def Predictor():
    layers = [nn.PixelUnshuffle(8), Causal(192, 8, 3, 0), nn.ReLU(), Causal(8, 8, 3, 1), nn.Conv2d(8, 192, 1)]
    return nn.Sequential(*layers, nn.PixelShuffle(8))


class Codec(nn.Module):
    def __init__(self):
        super().__init__()
        self.here, self.past = nn.Conv2d(3, 3, 1), Causal(3, 3, 3, 0)

    def forward(self, x, seen):
        return self.here(x) + self.past(seen), self.past(seen) * 2
"""


@pytest.fixture
def codec(tmp_path: Path) -> str:
    (tmp_path / "codec.py").write_text(CODEC)
    return f"{tmp_path / 'codec.py'}"


def test_a_cone_is_a_grid(codec):
    done = run("cone", f"{codec}:Predictor", "--input", "1x3x64x64")
    assert done.returncode == 0, done.stderr
    assert "reads 11 cells" in done.stdout
    assert "A cell is 8x8 samples of output, 8x8 of input." in done.stdout
    assert "\n  #####\n  ####.\n  ##@..\n" in done.stdout
    assert "own place, not read" in done.stdout
    assert "(-1, 2)" in done.stdout


def test_a_cone_as_json_and_of_one_phase(codec):
    done = run("cone", f"{codec}:Codec", "--input", "1x3x16x16", "--input", "1x3x16x16", "--format", "json")
    found = json.loads(done.stdout)
    assert found["schema_version"] == 1
    taps = [(one["output"], one["input"], one["taps"]) for one in found["cones"]]
    past = [[-1, -1], [-1, 0], [-1, 1], [0, -1]]
    assert taps == [
        ("output0", "x", [[0, 0]]),
        ("output0", "seen", past),
        ("output1", "x", []),
        ("output1", "seen", past),
    ]
    done = run("cone", f"{codec}:Predictor", "--input", "1x3x64x64", "--phase", "0,9")
    assert done.returncode == 2
    assert "expected a sample of a cell of 8x8" in done.stderr


def test_the_verdict_says_when_a_cone_is_smaller_than_its_axes(codec):
    done = run("analyze", f"{codec}:Predictor", "--input", "1x3x64x64")
    assert "of the 15 cells that these axes span together 11 are read" in done.stdout
    assert "span together" not in run("analyze", "examples/unet.py:UNet").stdout
    done = run("analyze", f"{codec}:Predictor", "--input", "1x3x64x64", "--format", "markdown")
    assert "of the 15 cells that these axes span together 11 are read" in done.stdout


def test_a_wavefront_of_a_picture(codec):
    """2 (rows - 1) + columns steps, rows and columns of 8x8 blocks."""
    done = spawn("wavefront", f"{codec}:Predictor", "--input", "1x3x64x64", "--image", "768x512")
    assert done.returncode == 0, done.stderr
    assert "a cell can be made at time 2 * row + column" in done.stdout
    assert "64x96 cells (6144) along H and W: 222 steps" in done.stdout
    found = json.loads(run("wavefront", f"{codec}:Predictor", "--input", "1x3x64x64", "--format", "json").stdout)
    assert found["cells"] == [8, 8]
    assert found["steps"] == 2 * 7 + 8
    assert found["skew"] == 2


def test_which_output_is_fed_back_must_be_said_where_there_are_several(codec):
    shapes = ("--input", "1x3x16x16", "--input", "1x3x16x16")
    done = run("wavefront", f"{codec}:Codec", *shapes)
    assert done.returncode == 2
    assert "--feed OUTPUT:INPUT" in done.stderr
    done = run("wavefront", f"{codec}:Codec", *shapes, "--feed", "output0:seen")
    assert done.returncode == 0, done.stderr
    assert "46 steps" in done.stdout  # 2 * 15 + 16
    done = run("wavefront", f"{codec}:Codec", *shapes, "--feed", "0:x")
    assert done.returncode == 2
    assert "output0 reads x at (0, 0)" in done.stderr


def test_stages_of_a_cell_run_in_the_order_in_which_they_are_named(codec):
    """The cell of x is made of what was seen before; then what is seen, of that cell and of what was seen before."""
    shapes = ("--input", "1x3x16x16", "--input", "1x3x16x16")
    done = run("wavefront", f"{codec}:Codec", *shapes, "--feed", "output1:x", "--feed", "output0:seen")
    assert done.returncode == 0, done.stderr
    assert "46 steps" in done.stdout
    done = run("wavefront", f"{codec}:Codec", *shapes, "--feed", "output0:seen", "--feed", "output1:x")
    assert done.returncode == 2
    assert "output0 reads x at (0, 0)" in done.stderr


def test_what_cannot_be_made_cell_by_cell_is_refused():
    done = run("wavefront", "examples/unet.py:UNet")
    assert done.returncode == 2
    assert "reads x at (0, 0)" in done.stderr
    done = run("cone", "examples/obstacle.py:Denoiser")
    assert done.returncode == 3


HYPER = """
import torch.nn.functional as F
from torch import nn


class Left(nn.Module):
    def forward(self, y, z):
        return F.pad(y, (1, -1)) + F.interpolate(z, scale_factor=4), y + z.mean()
"""


def test_what_is_given_has_no_say_in_how_large_a_cell_is(tmp_path: Path):
    """Each column reads the one before, and a coarse side information, whole: 16 columns, 16 steps, as Loop has it."""
    net = f"{tmp_path / 'hyper.py'}:Left"
    (tmp_path / "hyper.py").write_text(HYPER)
    shapes = ("--input", "1x1x8x16", "--input", "1x1x2x4")
    done = run("wavefront", net, *shapes, "--feed", "output0:y", "--format", "json")
    assert done.returncode == 2  # output1 reads the cell that is being made
    assert "output1 reads y at (0, 0)" in done.stderr
    (tmp_path / "hyper.py").write_text(HYPER.replace("y + z", "F.pad(y, (2, -2)) + z"))
    done = run("wavefront", net, *shapes, "--feed", "output0:y", "--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["cells"], found["steps"], found["taps"]) == ([8, 16], 16, [[0, -2], [0, -1]])
    done = run("wavefront", net, *shapes, "--feed", "output0:y", "--image", "24x4", "--format", "json")
    assert json.loads(done.stdout)["steps"] == 24
    done = run("wavefront", net, *shapes, "--feed", "output0:z")
    assert done.returncode != 0


def test_the_number_of_steps_comes_first_and_long_lists_are_folded(codec):
    """The predictor's kernels of 3 read 4 cells each, so few are listed; a kernel of 9 reads 4 * 9 + 4 before its own."""
    path = Path(codec)
    path.write_text(CODEC + "\n\ndef Wide():\n    return Causal(1, 1, 9, 0)\n")
    done = run("wavefront", f"{codec}:Wide", "--input", "1x1x16x16")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    heads = [line.partition(":")[0] for line in lines if line[:1].isupper()]
    assert heads[:3] == ["Front", "Image", "Cells that must be there before"]
    assert "and 28 more, which the JSON format lists" in " ".join(lines)
    found = json.loads(run("wavefront", f"{codec}:Wide", "--input", "1x1x16x16", "--format", "json").stdout)
    assert len(found["taps"]) == 40
