"""What blocks cost: against torch's flop counter, against counting by hand, and against published figures."""

from __future__ import annotations

import io
import json
import pickle
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from shared.blockwise import Pyramid, conv
from shared.thorough import few
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import overlapcalc as oc
from examples.codec import Codec
from examples.superres import SuperResolver
from examples.unet import UNet
from overlapcalc.analysis import analyze as analysis_module
from overlapcalc.engine import free_memory as free_module
from overlapcalc.planning.byte_size import bytes_of, bytes_text
from overlapcalc.planning.image_shapes import shapes_for_image
from overlapcalc.planning.image_size import parsed_image
from overlapcalc.report import render_plan
from overlapcalc.trace.peak_memory import MemoryMeter


class Attention(nn.Module):
    """Windows of 4 x 4, linear layers and einsum over channels: every kind of product."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)
        self.mix = nn.Parameter(torch.eye(8))

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        t = x.view(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, c)
        q, k, v = self.qkv(t).chunk(3, -1)
        t = self.out(torch.softmax(q @ k.transpose(1, 2), -1) @ v)
        y = t.view(n, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)
        return torch.einsum("nchw,cd->ndhw", y, self.mix)


COUNTED = {
    "codec": (lambda: Codec(4, 6), (1, 3, 64, 80)),
    "u-net": (UNet, (2, 3, 32, 48)),
    "super-resolver": (lambda: SuperResolver(channels=4), (1, 3, 19, 22)),
    "groups": (lambda: nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.ConvTranspose2d(8, 4, 5, 3, groups=4, output_padding=1)), (1, 4, 20, 21)),
    "one axis": (lambda: nn.Sequential(nn.Conv1d(2, 4, 9, 3, dilation=2), nn.ConvTranspose1d(4, 2, 5, 3, 4)), (3, 2, 99)),
    "three axes": (lambda: nn.Conv3d(2, 3, 3, padding="same"), (1, 2, 6, 7, 8)),
    "products": (Attention, (1, 8, 16, 24)),
}  # fmt: skip


@cache
def counted(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    make, shape = COUNTED[name]
    return make().eval(), shape


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize("name", COUNTED)
def test_kernel_macs_of_the_full_run_are_what_torch_counts(name):
    model, shape = counted(name)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.rand(shape))
    assert oc.plan(model, shape, block=16).full.kernel_macs == counter.get_total_flops() // 2


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize(
    "name", few(["codec", "u-net", "super-resolver", "groups", "one axis"], ("u-net", "groups", "one axis"))
)
def test_kernel_macs_of_all_blocks_are_what_torch_counts(name):
    model, shape = counted(name)
    made = oc.plan(model, shape, block=16)
    net = oc.tiled(model, shape, block=16)
    with FlopCounterMode(display=False) as counter:
        net(torch.rand(shape))
    assert made.work.kernel_macs == counter.get_total_flops() // 2


@pytest.mark.parametrize(
    ("k", "s", "p", "d", "more"), [(5, 2, 2, 1, 1), (3, 2, 0, 1, 0), (1, 2, 0, 1, 1), (4, 3, 1, 2, 2), (2, 2, 0, 1, 0)]
)
def test_macs_are_output_samples_times_the_taps_of_their_phase(k, s, p, d, more):
    model, n = nn.ConvTranspose1d(3, 7, k, s, p, more, dilation=d), 11
    size = model(torch.zeros(1, 3, n)).shape[-1]
    taps = sum(1 for o in range(size) for t in range(k) if (o + p - d * t) % s == 0)
    assert oc.plan(model, (1, 3, n), block=1000).full.macs == taps * 3 * 7


def test_macs_of_a_masked_convolution_are_those_of_its_taps():
    class Masked(nn.Conv1d):
        def forward(self, x: Tensor) -> Tensor:
            mask = torch.tensor([1.0, 1.0, 0.0])
            return nn.functional.conv1d(x, self.weight * mask, None, padding=1)

    full = oc.plan(Masked(2, 5, 3), (1, 2, 20)).full
    assert (full.macs, full.kernel_macs) == (20 * 2 * 2 * 5, 20 * 3 * 2 * 5)


# ---- the grid of blocks --------------------------------------------------------------------------------------


@cache
def four_nets() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    def chain(*layers: nn.Module) -> nn.Module:
        return nn.Sequential(*(x for layer in layers for x in (layer, nn.ReLU())))

    return {
        "stack": (chain(*(conv(3 if i == 0 else 4, 4) for i in range(10))), (1, 3, 512, 768)),
        "u-net": (UNet(channels=4), (1, 3, 512, 768)),
        "encoder": (chain(*(nn.Conv2d(3 if i == 0 else 4, 4, 5, 2, 2) for i in range(4))), (1, 3, 512, 768)),
        "decoder": (chain(*(nn.ConvTranspose2d(4, 4, 5, 2, 2, 1) for i in range(4))), (1, 4, 32, 48)),
    }


FED = {  # worked out from context and step: (blocks + what the inner ones share on both sides) per axis
    "stack": lambda blocks: Fraction(512 + 20 * (blocks[0] - 1), 512) * Fraction(768 + 20 * (blocks[1] - 1), 768),
    "encoder": lambda blocks: Fraction(512 + 48 * (blocks[0] - 1), 512) * Fraction(768 + 48 * (blocks[1] - 1), 768),
    "decoder": lambda blocks: Fraction(32 + 3 * (blocks[0] - 1), 32) * Fraction(48 + 3 * (blocks[1] - 1), 48),
}


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize(("block", "most"), few([(128, {"stack": 1.263, "u-net": 1.682, "encoder": 1.682, "decoder": 1.682}),
                                             (256, {"stack": 1.093, "u-net": 1.230, "encoder": 1.230, "decoder": 1.230})], 1))  # fmt: skip
def test_samples_fed(block, most):
    for name, (model, shape) in four_nets().items():
        made = oc.plan(model, shape, block=block)
        assert float(made.fed) <= most[name] + 5e-4
        if name in FED:
            assert made.fed == FED[name]((-(-512 // block), -(-768 // block)))


@pytest.mark.usefixtures("traced_once")
def test_a_block_is_counted_on_the_finer_side_and_rounded_up_to_the_grid():
    encoder, decoder = Codec(4, 6).g_a, Codec(4, 6).g_s
    for model, shape in ((encoder, (1, 3, 128, 128)), (decoder, (1, 6, 8, 8))):
        strip = oc.plan(model, shape, block=20).strips["W"]
        assert strip.block == 32
        assert len(strip.slots) == 4
    assert oc.plan(encoder, (1, 3, 128, 128), block=5000).count == 1
    assert oc.plan(encoder, (1, 3, 128, 128), block={"W": 32}).count == 4


def test_the_json_is_enough_to_run_the_blocks():
    torch.manual_seed(0)
    model, x = UNet(channels=4).eval().double(), torch.rand(1, 3, 44, 52, dtype=torch.float64)
    made = json.loads(json.dumps(oc.plan(model, (1, 3, 44, 52), block=16).to_dict()))
    (output,), axes = made["outputs"].values(), made["axes"]
    y = torch.full(output["shape"], torch.nan, dtype=torch.float64)
    with torch.no_grad():
        for h in axes["H"]["slots"]:
            for w in axes["W"]["slots"]:
                tile = model(x[..., slice(*h["tiles"]["x"]), slice(*w["tiles"]["x"])])
                kept = tile[..., slice(*h["crop"]["output"]), slice(*w["crop"]["output"])]
                y[..., slice(*h["outputs"]["output"]), slice(*w["outputs"]["output"])] = kept
        assert float((y - model(x)).abs().max()) < 1e-12


# ---- memory --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("traced_once")
def test_memory_of_a_chain_by_hand():
    """ReLU makes no workspace: at the fullest moment two maps of 8 channels live."""
    model = nn.Sequential(*(nn.ReLU() for _ in range(4)))
    found = oc.plan(model, (1, 8, 64, 64), block=16)
    one = 8 * 64 * 64 * 4
    assert found.full_memory == oc.Memory(2 * one, 0)
    tile = 8 * 16 * 16 * 4
    assert found.memory == oc.Memory(one + tile + 2 * tile, 0)
    assert oc.plan(model, (1, 8, 64, 64), dtype="float16").full_memory == oc.Memory(one, 0)


def held(model: nn.Module, shape: tuple[int, ...], dtype: str = "float32") -> int:
    memory = oc.plan(model, shape, dtype=dtype).full_memory
    assert memory is not None
    return memory.activations


def test_tensors_count_as_long_as_the_net_names_them():
    class Keeps(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            a = x + 1
            b = a * 2
            return b.sin()

    class Frees(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return ((x + 1) * 2).sin()

    assert held(Keeps(), (1, 1, 10, 10)) == 3 * 400
    assert held(Frees(), (1, 1, 10, 10)) == 2 * 400
    assert held(Frees(), (1, 1, 10, 10), "float64") == 2 * 800


def test_kernels_count_what_they_allocate():
    """In float64 torch writes out the columns of a convolution; one of a single tap needs none."""
    assert held(conv(4, 8), (1, 4, 10, 10), "float64") == (4 * 9 + 8) * 100 * 8
    assert held(nn.Conv2d(4, 8, 1), (1, 4, 10, 10), "float64") == 8 * 100 * 8
    assert held(nn.ConvTranspose2d(4, 8, 2, 2), (1, 4, 10, 10), "float64") == (8 * 4 * 100 + 8 * 400) * 8


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="another library multiplies matrices here")
def test_a_product_of_matrices_keeps_a_panel_of_its_second_factor():
    """Of 192 x 6432 samples at most in float32, as measured; once, however many products there are."""

    class Products(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x.mT @ x).sum() + (x @ x.mT).sum()

    result = 7000 * 7000 * 4
    assert held(Products(), (1, 300, 7000)) >= result + 192 * 6432 * 4
    assert held(Products(), (1, 300, 7000)) < result + 192 * 6432 * 4 + 2 * 300 * 7000 * 4


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize(("schedule", "block"), [("trim", 32), ("stream", 8)])
def test_schedules_of_calls_hold_what_the_plan_says(schedule, block):
    """The tensors alive in a real run, kernels' own memory left out of both: chains of one channel count have none."""
    torch.manual_seed(0)
    model, shape = (
        nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.ReLU(), nn.AvgPool2d(5, 2, 2), nn.Sigmoid()).eval(),
        (1, 4, 96, 80),
    )
    net, x = oc.tiled(model, shape, schedule=schedule, block=block), torch.rand(shape)
    memory = net.plan(shape).memory
    assert memory is not None
    net(x)
    with MemoryMeter([x], kernels=False) as seen:
        net(x)
    assert seen.peak == pytest.approx(memory.activations, rel=0.15)
    assert memory.activations < held(model, shape) / 2


@pytest.mark.usefixtures("traced_once")
def test_the_blocks_with_the_least_work_that_fit():
    model, shape = nn.Sequential(conv(3, 16), nn.ReLU(), conv(16, 3)), (1, 3, 256, 256)
    full = oc.plan(model, shape, block=4096)
    assert full.memory is not None
    assert oc.plan(model, shape, memory=full.memory.total).count == 1
    seen = []
    for share in (0.7, 0.4, 0.2):
        budget = int(full.memory.total * share)
        found = oc.plan(model, shape, memory=budget, schedule="crop")
        assert found.memory is not None
        assert found.memory.total <= budget
        seen.append(found.work.kernel_macs)
    assert seen == sorted(seen)
    with pytest.raises(oc.InputError, match="no block of this image fits"):
        oc.plan(model, shape, memory="10KB")


@pytest.mark.usefixtures("traced_once")
def test_blocks_that_save_nothing_are_said_to():
    """Twelve averages of 9 samples run 48 rows ahead: of 64 rows a stream holds nearly all, of 1024 few."""
    model = nn.Sequential(*(nn.AvgPool2d(9, 1, 4) for _ in range(12)))
    for rows, saves in ((64, False), (1024, True)):
        plan = oc.plan(model, (1, 4, rows, 32), schedule="stream", stream_axis="H", block=16)
        assert plan.saves_memory is plan.to_dict()["saves_memory"] is saves
        console = Console(file=io.StringIO(), width=100)
        render_plan(plan, console)
        assert ("save next to no memory" in console.file.getvalue()) is not saves


class Copied:
    """An image that gives copies of its parts."""

    def __init__(self, image: Tensor) -> None:
        self._image, self.shape, self.dtype = image, image.shape, np.dtype(np.float32)

    def __getitem__(self, place: tuple[slice, ...]) -> Tensor:
        return self._image[place].clone()


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize("schedule", ["crop", "trim", "stream"])
def test_what_is_stored_is_not_held(schedule):
    """The tensors alive in a real run from array to array; kernels of pooling need none of their own."""
    model, shape = nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.ReLU(), nn.AvgPool2d(5, 1, 2)).eval(), (1, 8, 96, 64)
    made = oc.plan(model, shape, schedule=schedule, block=16, stored=True)
    held_too = oc.plan(model, shape, schedule=schedule, block=16)
    assert made.memory is not None
    assert held_too.memory is not None
    assert made.memory.activations <= held_too.memory.activations - 4 * 8 * 96 * 64 * (
        0.8 if schedule == "stream" else 1
    )
    net = oc.tiled(model, schedule=schedule, block=16)
    source, out = Copied(torch.rand(shape)), np.empty(shape, np.float32)
    net(source, out=out)
    with MemoryMeter([source._image], kernels=False) as seen:
        net(source, out=out)
    assert seen.peak == pytest.approx(made.memory.activations, rel=0.15)


@pytest.mark.parametrize("schedule", ["trim", "stream"])
def test_a_run_does_not_pay_for_the_figure_of_memory(schedule, monkeypatch):
    """It is found out when it is asked for, once; and a plan that is saved has it."""
    weighed = []
    monkeypatch.setattr("overlapcalc.engine.weigh._held", lambda machine: weighed.append(machine) or 4321)
    model, x = conv(3, 4), torch.rand(1, 3, 24, 32)
    net = oc.tiled(model, schedule=schedule, block=8)
    net(x)
    assert not weighed
    made = net.plan(x.shape)
    assert made is net.machine(x.shape).plan
    assert made.memory == oc.Memory(4321, made.full_memory.weights)
    assert len(weighed) == 1
    saved = pickle.loads(pickle.dumps(made))
    assert saved == made
    assert saved.to_dict() == made.to_dict()
    assert len(weighed) == 1


def test_to_weigh_a_plan_and_to_run_it_takes_one_trace(monkeypatch):
    traced = []
    trace = analysis_module.trace
    monkeypatch.setattr(analysis_module, "trace", lambda *given: traced.append(given[1]) or trace(*given))
    model, x = nn.Sequential(conv(3, 4), conv(4, 3)), torch.rand(1, 3, 64, 32)
    net = oc.tiled(model, memory=oc.plan(model, x.shape, schedule="stream", block=8).memory.total, schedule="stream")
    traced.clear()
    net(x)
    assert traced.count((tuple(x.shape),)) == 1


@pytest.mark.usefixtures("traced_once")
def test_blocks_that_fit_into_what_is_free(monkeypatch):
    model, x = nn.Sequential(conv(3, 16), nn.ReLU(), conv(16, 3)).eval(), torch.rand(1, 3, 128, 128)
    usual = oc.plan(model, x.shape)
    assert usual.memory is not None
    for most, schedule in (
        (1 << 40, None),
        (usual.memory.activations // 2, None),
        (1 << 20, "stream"),
        (1 << 19, "trim"),
    ):
        monkeypatch.setattr("overlapcalc.engine.run.free_memory", lambda device, most=most: most)
        net = oc.tiled(model, schedule=schedule)
        plan = net.plan(x.shape)
        assert plan.memory is not None
        assert plan.memory.activations <= 0.8 * most
        assert schedule in (None, plan.schedule)
        if most == 1 << 40:
            assert plan == usual
        with torch.no_grad():
            assert torch.allclose(net(x), model(x), atol=1e-5)
    monkeypatch.setattr("overlapcalc.engine.run.free_memory", lambda device: 100 << 10)
    with pytest.raises(oc.InputError, match=r"KiB of memory are free, of which 80% are used: .*no block"):
        oc.run(model, x)
    assert oc.run(model, x, block=16).shape == x.shape  # what is asked for is done


def test_free_memory_is_that_of_the_system_or_of_the_container(monkeypatch, tmp_path):
    system, limit, used = (tmp_path / name for name in ("meminfo", "max", "current"))
    system.write_text("MemTotal: 9000 kB\nMemAvailable: 5000 kB\n")
    monkeypatch.setattr(free_module, "PROC", system)
    monkeypatch.setattr(free_module, "GROUPS", ((limit, used),))
    cpu = torch.device("cpu")
    assert free_module.free_memory(cpu) == 5000 * 1024
    used.write_text("1000\n")
    limit.write_text("max\n")
    assert free_module.free_memory(cpu) == 5000 * 1024
    limit.write_text("4000\n")
    assert free_module.free_memory(cpu) == 3000
    system.unlink()
    limit.unlink()
    assert free_module.free_memory(cpu) is None
    assert free_module.free_memory(torch.device("meta")) is None


def test_amounts():
    assert [bytes_of(t) for t in ("2GiB", "500 MB", "1.5k", 7)] == [2 << 30, 500_000_000, 1536, 7]
    assert [bytes_text(n) for n in (7, 2 << 30, 1536, 150 << 20)] == ["7 B", "2 GiB", "1.5 KiB", "150 MiB"]
    for wrong in ("", "2 zb", "-1", 0, True):
        with pytest.raises(oc.InputError):
            bytes_of(wrong)


# ---- sizes of images -----------------------------------------------------------------------------------------


def test_an_image_is_the_finer_of_input_and_output():
    def shapes(model: nn.Module, shape: Any, image: str) -> Any:
        return shapes_for_image(oc.analyze(model, shape), parsed_image(image))

    assert shapes(Codec(4, 6).g_a, (1, 3, 64, 64), "320x192") == ((1, 3, 192, 320),)
    assert shapes(Codec(4, 6).g_s, (1, 6, 8, 8), "320x192") == ((1, 6, 12, 20),)
    assert shapes(Pyramid(), [(1, 3, 48, 64), (1, 2, 24, 32)], "80x40") == ((1, 3, 40, 80), (1, 2, 20, 40))
    assert shapes(nn.Conv1d(2, 3, 3), (1, 2, 50), "99") == ((1, 2, 99),)
    assert shapes(nn.Conv3d(2, 3, 3), (1, 2, 9, 9, 9), "30x20x10") == ((1, 2, 10, 20, 30),)
    with pytest.raises(oc.InputError, match="the nearest are 304 and 320"):
        shapes(Codec(4, 6).g_s, (1, 6, 8, 8), "310x192")
    with pytest.raises(oc.InputError, match="WIDTHxHEIGHT"):
        shapes(Codec(4, 6).g_s, (1, 6, 8, 8), "310")
    for wrong in ("", "3840", "12x", "axb", "1x2x3x4"):
        with pytest.raises(oc.InputError):
            shapes(UNet(), (1, 3, 64, 64), wrong)


def test_a_schedule_that_there_is_not():
    with pytest.raises(oc.InputError, match="schedule='zigzag': there are crop"):
        oc.plan(conv(3, 3), (1, 3, 32, 32), schedule="zigzag")


def test_too_many_blocks_are_refused_at_once():
    for schedule in ("crop", "trim", "stream"):
        with pytest.raises(oc.InputError, match="give a larger block"):
            oc.plan(nn.ReLU(), (1, 1, 8, 300_000), block=1, schedule=schedule)


@pytest.mark.usefixtures("traced_once")
def test_a_budget_chooses_the_schedule_too():
    model, shape = nn.Sequential(conv(3, 16, 5), nn.ReLU(), conv(16, 3, 5)), (1, 3, 128, 128)
    full = oc.plan(model, shape, block=4096)
    assert full.memory is not None
    found = oc.plan(model, shape, memory=full.memory.total // 3)
    others = [oc.plan(model, shape, memory=full.memory.total // 3, schedule=s) for s in ("crop", "trim", "stream")]
    assert found.memory is not None
    assert found.memory.total <= full.memory.total // 3
    assert found.work.kernel_macs == min(p.work.kernel_macs for p in others) == full.full.kernel_macs
    assert found.schedule == "stream"
    x = torch.rand(shape)
    with torch.no_grad():
        assert torch.allclose(oc.run(model, x, memory=full.memory.total // 3), model(x), atol=1e-5)
