"""The command line: what a user types, sees and gets back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shared.commands import ROOT, run, spawn

EXAMPLES = ROOT / "examples"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "parts.py").write_text(
        "from torch import nn\ndef block(c):\n    return nn.Conv2d(c, c, 3, padding=1)\n"
    )
    (tmp_path / "m.py").write_text(
        "import torch\nfrom torch import nn\nfrom parts import block\n"
        "print('a model file may print')\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, N):\n        super().__init__()\n        self.body = nn.Sequential(nn.Conv2d(3, N, 5), block(N))\n"
        "    def forward(self, x):\n        print('so may forward')\n        return self.body(x)\n"
        "def make():\n    return Net(4)\n"
        "made = Net(2)\n"
        "one_d = nn.Conv1d(1, 1, 9, padding=4)\n"
        "three_d = nn.Conv3d(1, 1, 3, padding=1)\n"
        "number = 3\n"
        "class Two(nn.Module):\n    def forward(self, x, y):\n        return x + y\n"
        "class Unknown(nn.Module):\n    def forward(self, x):\n"
        "        return torch.cumprod(torch.linalg.solve_triangular(x, x, upper=True), 2) + torch.cholesky_inverse(x)\n"
        "class Gate(nn.Module):\n    def forward(self, x):\n        return x * 2 if x.sum() > 0 else x\n"
        "def broken():\n    raise ValueError('no weights here')\n"
    )
    package = tmp_path / "pack" / "inner"
    package.mkdir(parents=True)
    (tmp_path / "pack" / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "base.py").write_text("from torch import nn\nBase = nn.Conv2d(3, 3, 3)\n")
    (package / "net.py").write_text("from .base import Base\nnet = Base\n")
    return tmp_path


def test_the_readme_sentence():
    done = spawn("analyze", "examples/codec.py:Codec.g_s", "--input", "1x192x16x16")
    assert done.returncode == 0
    assert "Blocking-free: yes" in done.stdout
    words = " ".join(done.stdout.split())
    assert "To produce output columns [16a, 16b) this net needs input columns [a-1, b+2)" in words


def test_the_picture_in_the_readme():
    """The README shows what the command prints, to the letter."""
    command, _, shown = (ROOT / "README.md").read_text().split("```")[1].partition("\n$ ")[2].partition("\n")
    done = run(*command.split()[1:], COLUMNS="80")
    assert done.stdout == shown


def test_json_is_the_contract():
    done = run("analyze", "examples/unet.py:UNet", "--input", "1x3x64x96", "--format", "json", "--axis", "W")
    assert done.returncode == 0
    data = json.loads(done.stdout)
    assert data["schema_version"] == 1
    assert data["blocking_free"] is True
    w = data["pairs"][0]["axes"]["W"]
    assert (w["scale"], w["step"], w["out_step"], w["receptive_field"]) == ("1", 4, 4, [22, 26])
    assert w["context"] == {"before": 11, "after": 11, "total": 22}
    assert w["tile"] == {"before": 12, "after": 12, "total": 24}
    assert w["exact"] is True
    assert data["grid"]["W"] == {"step": {"x": 4}, "out_step": {"output": 4}}
    assert [row["name"] for row in data["layers"]][:2] == ["enc1.0", "max_pool2d"]
    assert data["layers"][0]["axes"]["x"]["W"]["scale"] == "1"


def test_an_obstacle_is_exit_code_3_and_named():
    done = run("analyze", "examples/obstacle.py:Denoiser", "--input", "1x3x32x32")
    assert done.returncode == 3
    assert "Blocking-free: no" in done.stdout
    assert "attention.squeeze" in done.stdout
    assert "obstacle.py:" in done.stdout
    assert "to change that" in done.stdout


def test_only_the_requested_axis_counts(models):
    (models / "h.py").write_text(
        "from torch import nn\nclass Net(nn.Module):\n    def forward(self, x):\n        return x - x.mean(2, keepdim=True)\n"
    )
    spec = f"{models}/h.py:Net"
    assert run("analyze", spec, "--input", "1x3x16x16", "--axis", "W").returncode == 0
    assert run("analyze", spec, "--input", "1x3x16x16", "--axis", "H").returncode == 3
    assert run("analyze", spec, "--input", "1x3x16x16").returncode == 3


@pytest.mark.parametrize(
    ("spec", "more"),
    [
        ("m.py:make", []),
        ("m.py:Net", ["--kwargs", '{"N": 3}']),
        ("m.py:made", []),
        ("m.py:made.body.0", []),
        ("m:Net.body", ["--kwargs", '{"N": 3}']),
        ("m.py:one_d", []),
        ("m.py:three_d", ["--input", "1x1x8x8x8"]),
        ("pack.inner.net:net", []),
        ("pack/inner/net.py:net", []),
        ("m.py:Two", ["--input", "1x1x8x8", "--input", "1x1x8x8"]),
    ],
)
def test_specs(models, spec, more):
    done = run("analyze", spec, "--format", "json", *more, cwd=models)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["blocking_free"]  # nothing that the model prints is in the report


def test_a_guess_says_so(models):
    done = run("analyze", "m.py:make", cwd=models)
    assert "input 1x3x256x256 is a guess: layer body.0 takes 3 channels in 2-D" in done.stdout.replace("\n", " ")


def test_a_guess_is_said_of_errors_that_are_about_it_and_of_no_others(models):
    (models / "odd.py").write_text(
        "import torch\nfrom torch import nn\nclass Odd(nn.Conv2d):\n    def __init__(self, most=9):\n"
        "        super().__init__(1, 1, 3)\n        self.most = most\n    def forward(self, x):\n"
        "        assert x.shape[-1] < self.most\n        return torch.cholesky_inverse(super().forward(x))\n"
    )
    about = run("analyze", "odd.py:Odd", cwd=models)
    assert "at input 1x1x256x256" in about.stderr
    assert "is a guess: Odd takes 1 channel" in about.stderr
    for arguments in (
        ("analyze", "odd.py:Odd", "--kwargs", '{"most": 999}'),
        ("analyze", "m.py:make", "--axis", "D"),
        ("verify", "m.py:make", "--device", "tpu"),
    ):
        other = run(*arguments, cwd=models)
        assert other.returncode == 2
        assert "is a guess" not in other.stderr, other.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.py:Net"], ["no file nowhere.py"]),
        (["no.such.module:Net"], ["no module", "no"]),
        (["m.py"], ["expected FILE.py:NAME"]),
        (["m.py:Nett"], ["no 'Nett'", "Net, make"]),
        (["m.py:Net"], ["needs N", "--kwargs"]),
        (["m.py:Net", "--kwargs", "{N: 3}"], ["not JSON"]),
        (["m.py:Net", "--kwargs", "[3]"], ["expected an object"]),
        (["m.py:number"], ["is of type int"]),
        (["m.py:Net", "--kwargs", '{"N": 3, "Q": 1}'], ["'Q'", "it takes N"]),
        (["m.py:made.body.0.weight"], ["Conv2d", "has no submodules"]),
        (["m.py:made", "--input", "3x32x32"], ["body.0", "without a batch", "(1, 3, 32, 32)"]),
        (["m.py:broken"], ["ValueError: no weights here"]),
        (["m.py:made.body.7"], ["no submodule '7'", "0, 1"]),
        (["m.py:made", "--input", "3x"], ["--input '3x'"]),
        (["m.py:made", "--input", "1x4x32x32"], ["m.py:made", "at input 1x4x32x32", "channels"]),
        (["m.py:made", "--input", "1x3x2x2"], ["m.py:made"]),
        (["m.py:made", "--input", "1x3x32x32", "--input", "1x3x32x32"], ["takes 1 input, 2 given"]),
        (["m.py:made", "--axis", "D"], ["axis 'D'", "H, W"]),
        (["m.py:Two"], ["takes 2 inputs", "--input"]),
        (
            ["m.py:Unknown", "--input", "1x1x8x8"],
            ["aten::linalg_solve_triangular", "aten::cholesky_inverse", "overlapcalc.rule"],
        ),
        (["m.py:Gate", "--input", "1x1x8x8"], ["depends on the data", "m.py:"]),
        (["m.py:made", "--output", "no/such/dir/file"], ["does not exist"]),
    ],
)
def test_refusals(models, arguments, words):
    done = run("analyze", *arguments, cwd=models)
    assert done.returncode == 2, done.stdout
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_wrong_usage_is_exit_code_2():
    assert spawn("analyze").returncode == 2
    assert run("analyse", "x").returncode == 2
    assert run("analyze", "examples/unet.py:UNet", "--format", "yaml").returncode == 2


def test_debug_shows_the_traceback(models):
    done = run("analyze", f"{models}/m.py:broken", "--debug")
    assert "Traceback (most recent call last)" in done.stderr
    assert "InputError: " in done.stderr or "ModelCodeError: " in done.stderr
    assert "no weights here" in done.stderr
    assert "Traceback" not in run("analyze", f"{models}/m.py:broken").stderr


def test_output_appears_whole_or_not_at_all(models):
    target = models / "report.json"
    target.write_text("what was there")
    failed = run("analyze", "m.py:Unknown", "--input", "1x1x8x8", "--output", str(target), cwd=models)
    assert failed.returncode == 2
    assert "--overwrite" in failed.stderr
    failed = run("analyze", "m.py:Unknown", "--input", "1x1x8x8", "--output", str(target), "--overwrite", cwd=models)
    assert failed.returncode == 2
    assert "--overwrite" not in failed.stderr
    assert target.read_text() == "what was there"
    done = run("analyze", "m.py:made", "--format", "json", "--output", str(target), "--overwrite", cwd=models)
    assert done.returncode == 0
    assert done.stdout == "a model file may print\n" or done.stdout == ""
    assert json.loads(target.read_text())["blocking_free"]
    assert [p.name for p in models.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("width", [80, 200])
def test_widths(width):
    done = run(
        "analyze", "examples/superres.py:SuperResolver", "--input", "1x3x32x32", COLUMNS=str(width), NO_COLOR="1"
    )
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= width
    assert "\x1b" not in done.stdout
    assert ("reach" in done.stdout.split("Blocking-free")[0]) == (width == 200)
    row = next(line for line in lines if line.startswith("body.3.conv2"))
    assert row.split()[-2:] == ["9,", "9"]


def test_help_names_the_exit_codes():
    done = run("analyze", "--help")
    assert done.returncode == 0
    assert "3 an obstacle" in done.stdout.replace("\n", " ")


# ---- plan and verify -----------------------------------------------------------------------------------------


def test_plan_prints_blocks_and_costs():
    done = run("plan", "examples/unet.py:UNet", "--image", "768x512", "--block", "128", COLUMNS="100")
    assert done.returncode == 0, done.stderr
    assert "24 blocks (4 along H x 6 along W) of 128 x 128, schedule crop" in done.stdout
    lines = done.stdout.splitlines()
    assert any(line.split() == ["first", "[0,", "128)", "[0,", "139)", "[0,", "140)", "140"] for line in lines)
    assert any(line.startswith("2 of 6") and "[117, 267)" in line and "[116, 268)" in line for line in lines)
    assert any(line.startswith("peak memory, total") for line in lines)
    assert all(len(line) <= 100 for line in lines)


def test_plan_as_json_and_with_a_budget(tmp_path):
    """Which schedule a budget chooses is seen in test_plan.py; to weigh all of them takes seconds."""
    out = tmp_path / "plan.json"
    given = ("--image", "512x512", "--memory", "60MiB", "--schedule", "crop", "--format", "json", "--output", str(out))
    done = run("plan", "examples/codec.py:Codec.g_s", *given)
    assert done.returncode == 0, done.stderr
    made = json.loads(out.read_text())
    assert made["inputs"]["input"]["shape"] == [1, 192, 32, 32]
    assert sum(made["memory"].values()) <= 60 << 20
    assert made["blocks"] > 1


def test_schedules_side_by_side():
    """What is recommended is what `run` takes."""
    small = ("--image", "64x64", "--block", "16", "--compare", "--format", "json")
    for spec, taken in (("examples/unet.py:UNet", "stream"), ("examples/obstacle.py:Denoiser", "passes")):
        found = json.loads(run("plan", spec, *small).stdout)
        assert found["recommended"] == taken
        assert [one["schedule"] for one in found["schedules"]] == ["crop", "trim", "stream", "passes"]
        refused = {one["schedule"] for one in found["schedules"] if one["refused"]}
        assert refused == (set() if taken == "stream" else {"crop", "trim", "stream"})
    printed = run("plan", "examples/unet.py:UNet", *small[:-2], COLUMNS="120").stdout
    assert "crop (above) " in printed
    assert "stream (recommended: `run` takes it)" in printed


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["plan", "examples/unet.py:UNet", "--image", "1x"], 2, "WIDTHxHEIGHT"),
        (["plan", "examples/unet.py:UNet", "--memory", "lots"], 2, "2GiB"),
        (["plan", "examples/unet.py:UNet", "--memory", "1KiB", "--image", "64x64"], 2, "no block of this image fits"),
        (["plan", "examples/unet.py:UNet", "--block", "0"], 2, "at least 1"),
        (["plan", "examples/unet.py:UNet", "--schedule", "zigzag"], 2, "invalid choice"),
        (["plan", "examples/unet.py:UNet", "--fixed-tile", "42"], 2, "are the nearest that work"),
        (["plan", "examples/unet.py:UNet", "--dtype", "int8"], 2, "float16"),
        (["plan", "examples/obstacle.py:Denoiser", "--schedule", "crop"], 3, "cannot be computed by blocks"),
        (
            ["verify", "examples/obstacle.py:Denoiser", "--schedule", "crop"],
            3,
            "passes run it exactly: --schedule passes",
        ),
        (["verify", "examples/unet.py:UNet", "--device", "cuda"], 2, "no CUDA device"),
        (["verify", "examples/unet.py:UNet", "--tile", "x"], 2, "such as 12,12"),
        (["verify", "examples/unet.py:UNet", "--tile", "10"], 2, "of 4, such as 8 or 12 before and 8 or 12 after\n"),
        (["verify", "examples/unet.py:UNet", "--tile", "3,8"], 2, "of 4, such as 0 or 4 before and 8 after\n"),
        (["verify", "examples/unet.py:UNet", "--device", "tpu9"], 2, "tpu9"),
    ],
)
def test_plan_and_verify_refuse(arguments, code, words):
    if "cuda" in arguments:
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a CUDA device here")
    done = run(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_verify_proves_and_refutes():
    good = run("verify", "examples/unet.py:UNet", "--axis", "W")
    assert good.returncode == 0, good.stdout + good.stderr
    assert good.stdout.count("proved ") >= 5
    assert good.stdout.rstrip().endswith("proved: blocks give what the whole image gives")
    small = ("--input", "1x3x16x96", "--block", "16")
    bad = run("verify", "examples/unet.py:UNet", *small, "--axis", "W", "--tile", "8,12")
    assert bad.returncode == 1
    assert "NOT proved" in bad.stdout
    assert "come from beyond the tile" in bad.stdout


def test_verify_as_json_and_junit():
    from xml.etree import ElementTree

    arguments = ("verify", "examples/unet.py:UNet", "--input", "1x3x16x96", "--axis", "W", "--block", "16")
    found = json.loads(run(*arguments, "--format", "json").stdout)
    assert found["proved"] is True
    assert [p["status"] for p in found["proofs"]] == ["proved"] * 5
    bad = run(*arguments, "--format", "junit", "--tile", "8")
    suite = ElementTree.fromstring(bad.stdout)[0]
    assert bad.returncode == 1
    assert suite.get("tests") == "5"
    assert int(suite.get("failures") or 0) == len(suite.findall("testcase/failure")) >= 2
    assert {case.get("classname") for case in suite} == {"examples/unet.py:UNet"}


def test_the_plan_in_the_readme_is_what_the_command_prints():
    text = (ROOT / "README.md").read_text()
    shown = (
        text[text.index("$ overlapcalc plan examples/unet.py:UNet --image 3840x2160\n") :]
        .split("```")[0]
        .splitlines()[1:]
    )
    printed = run("plan", "examples/unet.py:UNet", "--image", "3840x2160", COLUMNS="120").stdout.splitlines()
    figures = [line for line in shown if line.strip() and line != "..." and not line.startswith("peak memory")]
    assert len(figures) >= 10
    assert [line for line in figures if line not in printed] == []  # memory depends on the machine's kernels


@pytest.mark.parametrize(
    "arguments", [["--image", "²x5"], ["--tile", "²"], ["--input", "1x3x²x8"]], ids=["image", "tile", "input"]
)
def test_digits_that_are_no_numbers(arguments):
    layer = ["verify", "torch.nn:Conv2d", "--kwargs", '{"in_channels": 3, "out_channels": 3, "kernel_size": 3}']
    done = run(*layer, *arguments)
    assert done.returncode == 2
    assert "expected" in done.stderr
