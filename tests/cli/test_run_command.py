"""`overlapcalc run`: from file to file, and what it refuses without leaving anything behind."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from shared.commands import run
from torch import nn

import overlapcalc as oc
from examples.superres import SuperResolver
from examples.unet import UNet
from overlapcalc.cli import progress
from overlapcalc.io.files import load_weights, read_image

pytest.importorskip("PIL")
MODEL = "examples/unet.py:UNet"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(5)
    torch.save(UNet().state_dict(), tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


def whole(weights: Path, x: torch.Tensor) -> np.ndarray:
    net = UNet().eval()
    net.load_state_dict(torch.load(weights, weights_only=True))
    with torch.no_grad():
        return net(x).numpy()


@pytest.mark.parametrize("schedule", ["crop", "trim", "stream"])
@pytest.mark.parametrize("kind", [".npy", ".zarr"])
def test_arrays(tmp_path, weights, kind, schedule):
    x = torch.rand(3, 44, 36)
    if kind == ".npy":
        np.save(tmp_path / "in.npy", x.numpy().astype("float64"))  # no batch, another type
    else:
        zarr = pytest.importorskip("zarr")
        zarr.save(str(tmp_path / "in.zarr"), x.numpy())
    out = tmp_path / f"out{kind}"
    done = run("run", MODEL, "--weights", str(weights), "--in", str(tmp_path / f"in{kind}"), "--out", str(out),
               "--schedule", schedule, "--block", "16")  # fmt: skip
    assert done.returncode == 0, done.stderr
    note = f"overlapcalc: --in {tmp_path / 'in.npy'}: float64 is read as float32, the model's type\n"
    batch = f"overlapcalc: --in {tmp_path / f'in{kind}'}: read as 1x3x44x36, for the net takes a batch\n"
    assert (done.stdout, done.stderr) == ("", (note if kind == ".npy" else "") + batch)
    found = np.load(out) if kind == ".npy" else sys.modules["zarr"].open(str(out), mode="r")[:]
    assert np.abs(found - whole(weights, x[None])).max() < 1e-5
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["weights.pt", f"in{kind}", f"out{kind}"])


def test_pictures_and_safetensors(tmp_path):
    image = pytest.importorskip("PIL.Image")
    save_file = pytest.importorskip("safetensors.torch").save_file
    torch.manual_seed(1)
    net = SuperResolver().eval()
    save_file(net.state_dict(), str(tmp_path / "w.safetensors"))
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    image.fromarray(pixels).save(tmp_path / "in.png")
    done = run("run", "examples/superres.py:SuperResolver", "--weights", str(tmp_path / "w.safetensors"),
               "--in", str(tmp_path / "in.png"), "--out", str(tmp_path / "out.png"))  # fmt: skip
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        y = net(torch.from_numpy(pixels / np.float32(255)).permute(2, 0, 1)[None])
    wanted = (y[0].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
    found = np.array(image.open(tmp_path / "out.png"), dtype=np.float32)
    assert np.abs(found - wanted).max() <= 1  # a rounding apart


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"--in": "none.npy"}, "there is no such file"),
        ({"--in": "in.txt"}, "expected one of .npy"),
        ({"--in": "broken.npy"}, "it cannot be read as .npy: it does not begin as a .npy file does\n"),
        ({"--in": "cut.npy"}, "it cannot be read as .npy: it is cut off after 200 of 3200 bytes\n"),
        ({"--in": "header.npy"}, "it cannot be read as .npy: its header is damaged\n"),
        ({"--in": "objects.npy"}, "it cannot be read as .npy: it holds Python objects, not numbers\n"),
        ({"--in": "whole.npy"}, "floating numbers, it holds uint8"),
        ({"--out": "out.txt"}, "expected one of .npy"),
        ({"--out": "nowhere/out.npy"}, "does not exist"),
        ({"--out": "out.png"}, "1 or 3 channels"),
        ({"--weights": "none.pt"}, "there is no such file"),
        ({"--weights": "broken.npy"}, "no weights that can be read safely; expected what torch.save"),
        ({"--weights": "other.pt"}, "do not fit the model"),
        ({"--memory": "1KiB"}, "no block of this image fits"),
    ],
)
def test_what_is_refused_leaves_the_old_result(tmp_path, weights, change, words):
    np.save(tmp_path / "in.npy", np.zeros((3, 16, 16), np.float32))
    np.save(tmp_path / "whole.npy", np.zeros((3, 16, 16), np.uint8))
    (tmp_path / "in.txt").write_text("x")
    (tmp_path / "broken.npy").write_text("x")
    good = (tmp_path / "in.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(good[:200])
    (tmp_path / "header.npy").write_bytes(good.replace(b"'descr'", b"'dascr'"))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    np.save(tmp_path / "out.npy", np.arange(5))
    torch.save({"a": torch.ones(1)}, tmp_path / "other.pt")
    options = {"--in": "in.npy", "--out": "out.npy", "--weights": "weights.pt", **change}
    files = {k: str(tmp_path / v) if k != "--memory" else v for k, v in options.items()}
    before = sorted(p.name for p in tmp_path.iterdir())
    done = run("run", MODEL, "--overwrite", *(word for pair in files.items() for word in pair))
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert np.array_equal(np.load(tmp_path / "out.npy"), np.arange(5))
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_pictures_of_other_kinds(tmp_path):
    """Grey of 16 bits is of 0 to 65535; what would lose something is refused."""
    image = pytest.importorskip("PIL.Image")
    random = np.random.default_rng(0)
    deep = random.integers(0, 65536, (8, 9), dtype=np.uint16)
    image.fromarray(deep).save(tmp_path / "deep.png")
    found = read_image(tmp_path / "deep.png", torch.float64)
    assert found.shape == (1, 1, 8, 9)
    assert np.allclose(found[0, 0].numpy(), deep / 65535, atol=1e-6)
    palette = image.fromarray(random.integers(0, 256, (8, 9, 3), dtype=np.uint8)).convert("P")
    palette.save(tmp_path / "palette.png")
    assert np.allclose(
        read_image(tmp_path / "palette.png", torch.float64)[0].permute(1, 2, 0) * 255, np.array(palette.convert("RGB"))
    )
    for mode in ("RGBA", "LA"):
        image.new(mode, (9, 8)).save(tmp_path / f"{mode}.png")
        with pytest.raises(oc.InputError, match=f"a picture of mode {mode}"):
            read_image(tmp_path / f"{mode}.png", torch.float32)


def test_an_obstacle_is_refused(tmp_path):
    np.save(tmp_path / "in.npy", np.zeros((3, 16, 16), np.float32))
    done = run(
        "run", "examples/obstacle.py:Denoiser", "--in", str(tmp_path / "in.npy"), "--out", str(tmp_path / "out.npy"),
        "--schedule", "stream",
    )  # fmt: skip
    assert done.returncode == 3
    assert not (tmp_path / "out.npy").exists()


def test_weights_that_do_not_fit_are_counted(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 3))
    state = {"0.weight": torch.zeros(4, 3, 5, 5), "0.bias": torch.zeros(4), "2.weight": torch.zeros(1)}
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(oc.InputError) as refused:
        load_weights(model, tmp_path / "other.pt")
    said = str(refused.value)
    assert "2 missing (1.weight, 1.bias), 1 unknown to it (2.weight)" in said
    assert "1 of another shape (0.weight 4x3x5x5, here 4x3x3x3)" in said


def test_how_far_a_run_by_passes_is_counts_every_pass(tmp_path, monkeypatch):
    """Three passes of 4 bands each; the result comes in the last of them."""
    (tmp_path / "net.py").write_text(
        "from torch import nn\nclass Net(nn.Sequential):\n    def __init__(self):\n"
        "        super().__init__(nn.Conv2d(1, 1, 3, padding=1), nn.GroupNorm(1, 1), nn.GroupNorm(1, 1))\n"
    )
    np.save(tmp_path / "in.npy", np.ones((1, 1, 16, 8), np.float32))
    monkeypatch.setattr(progress, "EVERY", -1.0)
    done = run("run", f"{tmp_path}/net.py:Net", "--in", f"{tmp_path}/in.npy", "--out", f"{tmp_path}/out.npy",
               "--schedule", "passes", "--block", "4")  # fmt: skip
    assert done.returncode == 0, done.stderr
    shares = [int(line.split()[1].rstrip("%")) for line in done.stderr.splitlines() if "of the run" in line]
    assert shares == [round(100 * i / 12) for i in range(1, 13)]
    assert f"overlapcalc: {tmp_path}/out.npy is complete, after 0 s" in done.stderr


@pytest.mark.parametrize(
    ("forward", "said"),
    [
        ("self, x: (x + 1, x * 2)", "writes one; name a submodule"),
        ("self, x, y: x + y", "Net.forward takes 2 inputs, 1 given; name each with --in"),
    ],
)
def test_other_numbers_of_inputs_and_outputs_are_refused_with_a_way_out(tmp_path, forward, said):
    (tmp_path / "net.py").write_text(f"from torch import nn\nclass Net(nn.Module):\n    forward = lambda {forward}\n")
    np.save(tmp_path / "in.npy", np.ones((1, 1, 8, 8), np.float32))
    done = run("run", f"{tmp_path}/net.py:Net", "--in", f"{tmp_path}/in.npy", "--out", f"{tmp_path}/out.npy")
    assert done.returncode == 2
    assert said in done.stderr
