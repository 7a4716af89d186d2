"""A run by passes: what comes out, from where to where, with how much, and what is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from shared.thorough import crossed, few
from torch import nn

import overlapcalc as oc
from overlapcalc.testing import Barrier

pytestmark = pytest.mark.usefixtures("traced_once")

BANDS = {"schedule": "passes", "block": 5, "stream_axis": "H"}


def norms() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.SiLU(), nn.Conv2d(4, 4, 3, padding=1)
    return nn.Sequential(*layers, nn.InstanceNorm2d(4), nn.Conv2d(4, 2, 3, padding=1)).double().eval()


def image(*shape: int) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(shape or (1, 2, 23, 9), dtype=torch.float64)


def near(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-12) -> bool:
    return a.shape == b.shape and bool(((a - b).abs() <= tolerance * b.abs().max()).all())


@pytest.mark.parametrize(("axis", "rows"), crossed(["H", "W"], [1, 4, 9, 99]))
def test_bands_of_any_length_in_a_batch(axis, rows):
    net, x = norms(), image(3, 2, 23, 9)
    assert near(oc.run(net, x, schedule="passes", block=rows, stream_axis=axis), net(x))


def test_passes_run_by_themselves_where_tiles_do_not():
    assert oc.plan(norms(), (1, 2, 64, 64)).schedule == "passes"
    assert oc.plan(nn.Conv2d(2, 4, 3), (1, 2, 64, 64)).schedule == "crop"


def test_the_model_and_its_inputs_are_untouched():
    net, x = norms().train(), image()
    before, copy = {k: v.clone() for k, v in net.state_dict().items()}, x.clone()
    oc.run(net, x, **BANDS)
    assert net.training
    assert torch.equal(x, copy)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


class Outputs(nn.Module):
    """Of every kind: by bands at two scales, an input, a reduction's result, None, pixels in one dimension."""

    def forward(self, x):
        mean = x.mean((2, 3), keepdim=True)
        y = x - mean
        return y, nn.functional.avg_pool2d(y, 2), x, mean, None, y.flatten(2), x.amax((2, 3))


def test_outputs_of_every_kind():
    x = image(2, 2, 22, 8)
    found, expected = oc.run(Outputs(), x, **BANDS), Outputs()(x)
    assert found[4] is None
    for i in (0, 1, 2, 3, 5, 6):
        assert near(found[i], expected[i]), i


class Two(nn.Module):
    def forward(self, a, b):
        return {"sum": a / a.std() + b.amax((2, 3), keepdim=True), "all": (a * b).sum()}


def test_several_inputs_and_a_structure():
    a, b = image(1, 2, 11, 7), image(1, 2, 11, 7) * 2
    found, expected = oc.run(Two(), a, b, **BANDS), Two()(a, b)
    assert list(found) == ["sum", "all"]
    assert all(near(found[k], expected[k]) for k in expected)


def test_from_file_to_file(tmp_path):
    net, x = norms(), image(1, 2, 30, 8)
    x.numpy().tofile(tmp_path / "in.bin")
    source = np.memmap(tmp_path / "in.bin", np.float64, "r", shape=(1, 2, 30, 8))
    out = np.memmap(tmp_path / "out.bin", np.float64, "w+", shape=(1, 2, 30, 8))
    assert oc.run(net, source, out=out, spill=str(tmp_path), **BANDS) is out
    out.flush()
    assert near(torch.from_numpy(np.fromfile(tmp_path / "out.bin").reshape(1, 2, 30, 8)), net(x))
    assert sorted(f.name for f in tmp_path.iterdir()) == ["in.bin", "out.bin"]


@pytest.mark.parametrize("dtype", few([torch.float32, torch.float16, torch.bfloat16], 1))
def test_other_types(dtype):
    net, x = norms(), image()
    found = oc.run(norms().to(dtype), x.to(dtype), **BANDS)
    assert found.dtype == dtype
    assert near(found.double(), net(x), {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 0.1}[dtype])


def test_a_budget_is_kept_and_one_too_small_is_refused():
    net, shape = norms(), (1, 2, 64, 32)
    least = oc.plan(net, shape, schedule="passes", block=1).memory.total
    tiled = oc.tiled(net, shape, schedule="passes", memory=2 * least)
    assert tiled.plan(shape).memory.total <= 2 * least
    assert near(tiled(image(*shape)), net(image(*shape)))
    with pytest.raises(oc.InputError, match="no passes fit into"):
        oc.plan(net, shape, schedule="passes", memory=1000)


def test_no_folder_is_refused(tmp_path):
    with pytest.raises(oc.InputError, match="there is no such folder"):
        oc.run(norms(), image(1, 2, 40, 40), spill=str(tmp_path / "nowhere"), memory="80KiB", schedule="passes")


def test_what_draws_at_random_is_refused_by_name():
    class Noise(nn.Module):
        def forward(self, x):
            return x + torch.rand_like(x) * x.mean()

    with pytest.raises(oc.ObstacleError, match="no two runs of this net give the same"):
        oc.run(Noise(), image(), **BANDS)


def test_a_tensor_that_only_a_later_pass_reads_is_computed_there():
    """The wide convolution is read behind the barrier alone: its input waits, not its eight times larger result."""

    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide = nn.Conv2d(2, 16, 1)

        def forward(self, x):
            return self.wide(x) * x.mean((2, 3), keepdim=True).sum(1, keepdim=True)

    plan = oc.plan(Late(), (1, 2, 32, 8), schedule="passes", block=4)
    assert [one.stores for one in plan.passes.each] == [(), ()]
    assert [one.work.macs > 0 for one in plan.passes.each] == [False, True]


@pytest.mark.skipif(sys.platform != "linux", reason="files without a name")
def test_a_killed_process_leaves_nothing(tmp_path):
    from overlapcalc.engine.spill.nameless import nameless

    code = "import sys, time\nfrom pathlib import Path\nfrom overlapcalc.engine.spill.file import SpillFile\n" \
           "f = SpillFile(Path(sys.argv[1]), 1 << 20)\nprint('open', flush=True)\ntime.sleep(60)\n"  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.05)
    with nameless(tmp_path):
        assert list(Path(tmp_path).iterdir()) == []


def test_attention_takes_queries_by_bands():
    """The square of pixels is never there: 40 x 8 pixels squared are 819,200 bytes in float64."""
    net, x = Barrier(2, "attention").double().eval(), image(1, 2, 40, 8)
    plan = oc.plan(net, (1, 2, 40, 8), dtype="float64", **BANDS)
    assert plan.memory.activations < (40 * 8) ** 2 * 8
    assert near(oc.run(net, x, **BANDS), net(x))
