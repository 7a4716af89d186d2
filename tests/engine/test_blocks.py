"""Running by blocks: the same as the whole, for every kind of net, size, block and axis; and refused where it cannot be."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from shared.agreement import draw_shape
from shared.blockwise import Odd, Pyramid, Residual, apart, by, conv, image
from shared.nets import Net, healthy
from shared.thorough import crossed, few
from torch import Tensor, nn

import overlapcalc as oc
from examples.codec import Codec
from examples.superres import SuperResolver
from examples.unet import UNet
from overlapcalc.planning.crop import make_plan
from overlapcalc.planning.options import Blocking

TOLERANCE = 1e-12
SCHEDULES = ("crop", "trim", "stream")

NETS = {
    "encoder": (lambda: Codec(4, 6).g_a, (1, 3, 80, 96)),
    "decoder": (lambda: Codec(4, 6).g_s, (2, 6, 5, 7)),
    "u-net": (UNet, (1, 3, 52, 76)),
    "super-resolver": (lambda: SuperResolver(channels=4, blocks=1), (1, 3, 31, 23)),
    "reflect": (lambda: nn.Sequential(conv(3, 4, 5, padding_mode="reflect"), conv(4, 2, padding_mode="reflect")), (1, 3, 37, 53)),
    "replicate": (lambda: nn.Sequential(conv(3, 4, 5, padding_mode="replicate"), nn.MaxPool2d(2), conv(4, 2)), (3, 3, 38, 54)),
    "residual": (Residual, (1, 3, 33, 47)),
    "odd sizes": (Odd, (1, 3, 37, 50)),
    "one axis": (lambda: nn.Sequential(nn.Conv1d(2, 4, 9, 3, 4), nn.GELU(), nn.ConvTranspose1d(4, 2, 5, 3, 1)), (2, 2, 127)),
    "three axes": (lambda: nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.AvgPool3d(2), nn.ConvTranspose3d(2, 1, 2, 2)), (1, 1, 12, 10, 14)),
}  # fmt: skip


@cache
def built(name: str) -> tuple[nn.Module, Tensor, Tensor]:
    """A net that nobody changes, an image, and what it gives."""
    make, shape = NETS[name]
    torch.manual_seed(1)
    model, x = make().double().eval(), image(*shape)
    with torch.no_grad():
        return model, x, model(x)


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize(("schedule", "name"), crossed(["trim", "stream"], NETS))
def test_each_layer_computes_only_what_is_wanted(name, schedule):
    model, x, whole = built(name)
    axes = ["L"] if x.ndim == 3 else ["H", "W"] if x.ndim == 4 else ["D", "H", "W"]
    found = oc.analyze(model, x)
    for block in (13, 1000):
        assert apart(whole, by(found, model, x, block={axes[-1]: block}, schedule=schedule)) <= TOLERANCE
    assert apart(whole, oc.run(model, x, block=11, schedule=schedule)) <= TOLERANCE
    if schedule == "stream":
        for axis in axes[-1:]:
            made = make_plan(found, Blocking(schedule="stream", stream_axis=axis, block=7))
            assert made.work.macs <= made.full.macs
            assert apart(whole, by(found, model, x, schedule="stream", stream_axis=axis, block=7)) <= TOLERANCE
        sizes = {axis: 6 + i for i, axis in enumerate(axes)}
        assert apart(whole, by(found, model, x, schedule="stream", block=sizes)) <= TOLERANCE


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize(("block", "name"), crossed([9, 32], NETS))
def test_blocks_give_what_the_whole_gives(name, block):
    model, x, whole = built(name)
    found = oc.analyze(model, x)
    assert apart(whole, by(found, model, x, block=block)) <= TOLERANCE
    for axis in ["H", "W"] if x.ndim == 4 and block == 9 else []:
        assert apart(whole, by(replace(found, axes=(axis,)), model, x, block=1)) <= TOLERANCE


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize("seed", few(range(10), 5))
def test_random_nets(seed):
    rng = random.Random(9000 + seed)
    for _ in range(40):
        net = Net(lambda low, high: rng.randint(low, high))
        model, x = healthy(net.module, seed), image(*draw_shape(net, rng), seed=seed)
        try:
            with torch.no_grad():
                whole = model(x)
        except (RuntimeError, ValueError, AssertionError):
            continue
        if whole.isfinite().all() and 0 < whole.numel() <= 20_000:
            break
    axes = rng.choice([None, "W", "H"]) if net.n == 2 else None
    found = oc.analyze(model, x, axes=axes)
    if not found.blocking_free:
        with pytest.raises(oc.ObstacleError):
            oc.run(model, x, axes=axes)
        return
    for schedule in SCHEDULES:
        z = by(found, model, x, block=rng.randint(1, 40), schedule=schedule)
        assert apart(whole, z) <= TOLERANCE, (schedule, net.module)


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize(("before", "after"), [(1, 0), (0, 1)])
@pytest.mark.parametrize(
    "name", few(["encoder", "decoder", "u-net", "residual", "reflect", "one axis"], ("encoder", "u-net", "one axis"))
)
def test_a_tile_one_step_shorter_gives_something_else(name, before, after):
    model, x, whole = built(name)
    axis = "W" if x.ndim == 4 else "L"
    made = oc.plan(model, x, block={axis: 16})
    (strip,) = (made.strips[a] for a in made.strips if a == axis)
    cutter = cutter_of(model, x, axis)
    for slot in strip.slots:
        if (before and not slot.first) or (after and not slot.last):
            continue
        per_step = cutter.grid.per_step(cutter.inputs[0])
        tile = slot.tiles[0]
        shorter = x[..., tile.start + before * per_step : tile.stop - after * per_step]
        given = slot.given[0]
        out_step = cutter.grid.per_step(next(iter(cutter.outputs.values())))
        with torch.no_grad():
            y = model(shorter)
        at = slot.outputs[0].start - given.start - before * out_step
        part = y[..., max(at, 0) : at + slot.outputs[0].length]
        wanted = whole[..., slot.outputs[0].start : slot.outputs[0].stop]
        assert part.shape != wanted.shape or apart(wanted, part) > TOLERANCE


def cutter_of(model: nn.Module, x: Tensor, axis: str) -> Any:
    from overlapcalc.planning.strips import Cutter

    return Cutter(oc.analyze(model, x).variants.net, axis)


# ---- several inputs and outputs, and what is returned --------------------------------------------------------


@cache
def pyramid() -> nn.Module:
    return Pyramid().double()


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_structures_with_several_scales(schedule):
    model, x, y = pyramid(), image(1, 3, 48, 64), image(1, 2, 24, 32)
    with torch.no_grad():
        whole = model(x, y)
    tiled = oc.run(model, x, y, block=13, schedule=schedule)
    assert list(tiled) == ["fine", "rest"]
    assert apart(whole["fine"], tiled["fine"]) <= TOLERANCE
    for a, b in zip(whole["rest"], tiled["rest"], strict=True):
        assert apart(a, b) <= TOLERANCE


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize("schedule", few(SCHEDULES, 1))
def test_blocks_cover_every_output_once(schedule):
    model, x, y = pyramid(), image(1, 3, 48, 64), image(1, 2, 24, 32)
    made = oc.plan(model, [tuple(x.shape), tuple(y.shape)], block=20, schedule=schedule)
    seen = {name: torch.zeros(shape) for name, shape in made.outputs.items()}
    for block in oc.blocks(model, x, y, block=20, schedule=schedule):
        for name, region in block.regions.items():
            h, w = region["H"], region["W"]
            assert block.results[name].shape[2:] == (h.length, w.length)
            seen[name][:, :, h.start : h.stop, w.start : w.stop] += 1
    assert all(bool((count == 1).all()) for count in seen.values())


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_an_output_without_an_axis_is_given_whole(schedule):
    """As a vector that goes along with an image: it is no part of any block, and nothing of it may be lost."""

    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.linear = nn.Conv2d(3, 2, 3, padding=1), nn.Linear(4, 5)

        def forward(self, x: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
            return self.conv(x), self.linear(style)

    model, x, style = Beside().double(), image(1, 3, 16, 24), torch.rand(1, 4, dtype=torch.float64)
    with torch.no_grad():
        whole = model(x, style)
    for a, b in zip(whole, oc.run(model, x, style, block=5, schedule=schedule), strict=True):
        assert apart(a, b) <= TOLERANCE


def test_an_output_without_data_is_refused():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(2))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return 2 * x, self.scale

    with pytest.raises(oc.InputError, match="depend on no input"):
        oc.run(Two(), image(1, 1, 8, 8).float())


def test_inputs_on_grids_of_their_own_are_refused():
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            return x + 1, y * 2

    with pytest.raises(oc.InputError, match="do not move together"):
        oc.run(Two(), image(1, 1, 8, 8), image(1, 1, 9, 9))


# ---- what cannot be run --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "cause"),
    [(conv(4, 4, padding_mode="circular"), "circular"), (nn.GroupNorm(2, 4), "group norm"), (nn.InstanceNorm2d(4), "statistics"),
     (nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), "align_corners")],
)  # fmt: skip
def test_a_net_with_an_obstacle_is_refused_by_name_and_never_run(layer, cause):
    ran = []
    model = nn.Sequential(conv(4, 4), layer)
    x = image(1, 4, 16, 24).float()
    oc.analyze(model, x)
    model.register_forward_hook(lambda *_: ran.append(1))
    with pytest.raises(oc.ObstacleError, match=cause):
        oc.plan(oc.analyze(model, x), block=8, schedule="crop")
    traced = len(ran)
    with pytest.raises(oc.ObstacleError, match=cause):
        oc.run(model, x, block=8, schedule="crop")
    assert all(p.grad is None for p in model.parameters())
    assert traced == len(ran) or len(ran) >= traced


def test_an_axis_without_obstacle_can_be_cut():
    class Rows(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / (1 + x.sum(2, keepdim=True))

    x = image(1, 2, 9, 40)
    with pytest.raises(oc.ObstacleError):
        oc.run(Rows(), x, block=8, schedule="crop")
    assert apart(Rows()(x), oc.run(Rows(), x, block=8, axes="W")) <= TOLERANCE


def test_a_net_that_does_something_else_on_a_tile_is_stopped():
    class Sly(nn.Module):
        """What no trace shows: it looks at whether it is run for real."""

        def forward(self, x: Tensor) -> Tensor:
            y = F.avg_pool2d(x, 3, 1, 1)
            return y if torch.compiler.is_exporting() or x.shape[-1] > 30 else y[..., 1:]

    if not hasattr(torch.compiler, "is_exporting"):
        pytest.skip("this torch does not say whether it exports")
    with pytest.raises(oc.WrongTileError, match="on a tile"):
        oc.run(Sly(), image(1, 1, 16, 64), block=8)


# ---- the module ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_model_stays_as_it_is(schedule):
    model = nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.Dropout(0.5), conv(4, 3)).train()
    model[1].eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    x = image(1, 3, 20, 30).float().requires_grad_()
    y = oc.run(model, x, block=8, schedule=schedule)
    assert not y.requires_grad
    assert [m.training for m in model.modules()] == [True, True, False, True, True]
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    with torch.no_grad():
        assert torch.allclose(y, model.eval()(x), atol=1e-6)


@pytest.mark.parametrize("schedule", few(SCHEDULES, 1))
def test_tiled_is_prepared_once_and_follows_its_model(schedule):
    model = nn.Sequential(conv(3, 4), nn.ReLU(), conv(4, 3)).double()
    net = oc.tiled(model, (1, 3, 24, 40), block=16, schedule=schedule)
    planned = net.plan((1, 3, 24, 40))
    assert planned.count == (3 if schedule == "stream" else 6)
    x = image(1, 3, 24, 40)
    first = net(x)
    model.load_state_dict({k: v + 0.1 for k, v in model.state_dict().items()})
    with torch.no_grad():
        assert apart(model(x), net(x)) <= TOLERANCE
        assert apart(first, net(x)) > 1e-3
        for other in (image(1, 3, 31, 17), image(4, 3, 24, 40), image(1, 3, 5, 5)):
            assert apart(model(other), net(other)) <= TOLERANCE
    assert net.plan((1, 3, 24, 40)) is planned
    half = net.to(torch.bfloat16)(x.to(torch.bfloat16))
    assert half.dtype is torch.bfloat16


def test_wrong_inputs_are_refused():
    model = conv(3, 3)
    with pytest.raises(oc.InputError, match="expected a tensor"):
        oc.run(model, [1, 2])
    with pytest.raises(oc.InputError, match=r"expected a torch\.nn\.Module"):
        oc.run(lambda x: x, image(1, 3, 8, 8))
    with pytest.raises(oc.InputError, match="at least 1"):
        oc.run(model, image(1, 3, 8, 8).float(), block=0)
    with pytest.raises(oc.InputError, match="no axis 'D'"):
        oc.run(model, image(1, 3, 8, 8).float(), block={"D": 4})
    with pytest.raises(oc.InputError, match="on meta"):
        oc.run(model, torch.empty(1, 3, 8, 8, device="meta"))
    with pytest.raises(oc.InputError, match="exclude each other"):
        oc.run(model, image(1, 3, 8, 8).float(), block=8, memory="1GiB")


def test_channels_last_stays_so():
    model = conv(3, 8).to(memory_format=torch.channels_last)
    seen = []
    model.register_forward_pre_hook(
        lambda _, args: seen.append(args[0].is_contiguous(memory_format=torch.channels_last))
    )
    x = image(1, 3, 24, 24).float().to(memory_format=torch.channels_last)
    oc.plan(model, x, block=8)
    seen.clear()
    net = oc.tiled(model, block=8)
    net.plan(x.shape)
    net(x)
    assert all(seen[-9:])


# ---- tiles of one length -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize(
    ("name", "tile"),
    few([("u-net", 40), ("residual", 15), ("super-resolver", 17), ("one axis", 55), ("replicate", 22)], 2),
)
def test_equal_tiles(name, tile):
    model, x, whole = built(name)
    made = oc.plan(model, x, fixed_tile=tile)
    for axis, strip in made.strips.items():
        assert {slot.tiles[0].length for slot in strip.slots} == {tile}
        size = made.inputs[0][made.labels[0].index(axis)]
        assert strip.slots[-1].tiles[0].stop == size
    assert apart(whole, oc.run(model, x, fixed_tile=tile)) <= TOLERANCE


@pytest.mark.usefixtures("traced_once")
def test_lengths_that_do_not_work_are_refused_with_those_that_do():
    model, shape = UNet(), (1, 3, 64, 64)  # step 4, interior tiles of 12 + block + 12
    with pytest.raises(oc.InputError, match="40 and 44 are the nearest that work, of 28, 32, 36 and so on up to 64"):
        oc.plan(model, shape, fixed_tile=42)
    for tile in (40, 44):
        oc.plan(model, shape, fixed_tile=tile)
    with pytest.raises(oc.InputError, match="28 is the nearest that works, of 28, 32, 36"):
        oc.plan(model, shape, fixed_tile=8)
    oc.plan(model, shape, fixed_tile=28)
    with pytest.raises(oc.InputError):
        oc.plan(model, shape, fixed_tile=24)
    with pytest.raises(oc.InputError, match="the image has 64"):
        oc.plan(model, shape, fixed_tile=68)


@cache
def of_type(dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        conv(3, 8), nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.ConvTranspose2d(8, 4, 5, 2, 2, 1), nn.MaxPool2d(2), nn.LeakyReLU(), conv(4, 3),
    ).to(dtype).eval()  # fmt: skip


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize(
    ("dtype", "schedule"),
    crossed([torch.float16, torch.bfloat16, torch.float32, torch.float64], ["crop", "trim", "stream"]),
)
def test_floating_types(schedule, dtype):
    """Blocks compute in the type of the net: as near to the whole as that type allows."""
    model = of_type(dtype)
    x = torch.rand(1, 3, 41, 36, dtype=dtype)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    with torch.no_grad():
        whole = model(x)
    y = oc.run(model, x, schedule=schedule, block=9)
    assert y.dtype is dtype
    assert apart(whole.double(), y.double()) <= 8 * torch.finfo(dtype).eps
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert {t.dtype for t in model.state_dict().values()} == {dtype}


@pytest.mark.usefixtures("traced_once")
def test_averages_of_large_samples_in_half_precision():
    """256 samples of 1000 sum to more than float16 holds; their average is 1000."""
    x = torch.full((1, 1, 64, 64), 1000.0, dtype=torch.float16)
    for schedule in ("crop", "trim", "stream"):
        assert (oc.run(nn.AvgPool2d(16), x, schedule=schedule, block=32) == 1000).all()


@pytest.mark.usefixtures("traced_once")
def test_lengths_of_blocks_by_axis():
    model, shape = conv(3, 3).double(), (1, 3, 40, 60)

    def found(block, **options):
        plan = oc.tiled(model, block=block, **options).plan(shape)
        return {axis: strip.block for axis, strip in plan.strips.items()}

    for schedule in ("crop", "trim"):
        assert found((8, 12), schedule=schedule) == found({"H": 8, "W": 12}, schedule=schedule) == {"H": 8, "W": 12}
        assert found((None, 12), schedule=schedule) == found({"W": 12}, schedule=schedule) == {"H": 40, "W": 12}
    assert found((8, 12), schedule="stream") == {"H": 12, "W": 8}  # the band, along the longest axis, comes first
    assert found((8,), schedule="stream") == found(8, schedule="stream") == {"H": 40, "W": 8}
    assert found((8, 12), schedule="stream", stream_axis="H") == {"H": 8, "W": 12}
    for block, words in (((8, 8, 8), "up to 2 lengths, for H, W"), ((), "up to 2 lengths"), ((8, 0), "at least 1")):
        with pytest.raises(oc.InputError, match=words):
            found(block)
    x = image(*shape)
    with torch.no_grad():
        assert apart(model(x), oc.run(model, x, block=(7, 13), schedule="stream")) <= 1e-12
    assert oc.verify(model, block=(7, 9), schedule="stream", stream_axis="W").proved
    with pytest.raises(oc.InputError, match="give stream_axis"):
        oc.verify(model, block=(7, 9), schedule="stream")


@pytest.mark.usefixtures("traced_once")
def test_out_may_not_share_memory_with_an_input(tmp_path):
    model, x = conv(1, 1).double(), image(1, 1, 32, 32)
    both = image(1, 1, 32, 70)
    np.zeros((1, 1, 32, 32)).tofile(tmp_path / "a.bin")
    one, two = (np.memmap(tmp_path / "a.bin", np.float64, "r+", shape=(1, 1, 32, 32)) for _ in range(2))
    array = x.numpy().copy()
    for schedule in ("crop", "trim", "stream"):
        for given, out in (
            (x, x),
            (x, x.numpy()),
            (both[..., :32], both[..., 16:48]),
            (one, two),
            (array, array[:, :, ::-1]),
        ):
            with pytest.raises(oc.InputError, match="lies in the memory or the file of an input"):
                oc.run(model, given, out=out, schedule=schedule, block=8)
        with torch.no_grad():
            whole = model(both[..., :32])
        assert (
            apart(whole, oc.run(model, both[..., :32].clone(), out=both[..., 33:65], schedule=schedule, block=8))
            <= 1e-12
        )


def test_where_results_cannot_be_written():
    model, x = conv(1, 1).double(), image(1, 1, 16, 16)
    locked = np.zeros((1, 1, 16, 16))
    locked.flags.writeable = False
    whole_numbers = np.zeros((1, 1, 16, 16), np.uint8)
    expanded = torch.zeros(1, 1, 1, 16, dtype=torch.float64).expand(1, 1, 16, 16)
    for out, words in ((locked, "read-only"), (whole_numbers, "cut it to whole numbers"), (expanded, "expanded")):
        with pytest.raises(oc.InputError, match=words):
            oc.run(model, x, out=out, block=8)
    assert not whole_numbers.any()


@pytest.mark.usefixtures("traced_once")
def test_arrays_with_steps_backward_and_numbers_of_numpy():
    model, x = conv(1, 1).double(), image(1, 1, 16, 20)
    backward = x.numpy()[:, :, ::-1]
    with torch.no_grad():
        whole = model(torch.tensor(backward.copy()))
    for schedule in ("crop", "trim", "stream"):
        assert apart(whole, oc.run(model, backward, schedule=schedule, block=np.int64(8))) <= 1e-12
    for block in ("8", 8.0, True, [8, "8"]):
        with pytest.raises(oc.InputError, match="expected a number of samples"):
            oc.run(model, x, block=block)


class Flagged(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers, self.gain, self.wide = nn.Sequential(conv(1, 1), nn.ReLU()), 1.0, (1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) * self.gain


@pytest.mark.parametrize("schedule", few(["crop", "trim", "stream"], 1))
def test_a_model_that_was_changed_is_planned_anew(schedule):
    model, x = Flagged().double().eval(), image(1, 1, 24, 24)
    net = oc.tiled(model, x.shape, schedule=schedule, block=8)
    seen = net.machine(x.shape)
    assert net.machine(x.shape) is seen

    def same() -> bool:
        with torch.no_grad():
            return apart(model(x), net(x)) <= 1e-12

    changes = [
        lambda: setattr(model, "gain", 3.0),
        lambda: model.layers.__setitem__(1, nn.Tanh()),
        lambda: model.layers.__setitem__(0, conv(1, 1, 7).double()),
        lambda: setattr(model.layers[0], "dilation", (2, 2)) or setattr(model.layers[0], "padding", (6, 6)),
        lambda: model.register_forward_hook(lambda m, given, y: y + 1),
    ]
    for change in changes:
        change()
        assert same()
        assert net.machine(x.shape) is not seen
        seen = net.machine(x.shape)
    model.register_forward_hook(lambda m, given, y: y * y.mean())
    with pytest.raises(oc.ObstacleError):
        net(x)


@pytest.mark.usefixtures("traced_once")
def test_a_stream_goes_along_the_axis_it_is_told():
    model, x = conv(3, 3).double(), image(1, 3, 20, 30)
    for axis, other in (("H", "W"), ("W", "H")):
        seen = [b.regions["output"] for b in oc.blocks(model, x, schedule="stream", stream_axis=axis, block=5)]
        assert [r[axis].start for r in seen] == list(range(0, x.shape["HW".index(axis) + 2], 5))
        assert len({tuple(r[other]) for r in seen}) == 1
    with pytest.raises(oc.InputError, match="no such axis"):
        oc.run(model, x, schedule="stream", stream_axis="D")
    with pytest.raises(oc.InputError, match="is for the schedules stream and passes"):
        oc.run(model, x, schedule="crop", stream_axis="W")
    assert oc.tiled(model, x.shape, stream_axis="W").plan(x.shape).schedule == "stream"


class Nothing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, x):
        return {"y": self.conv(x), "mask": None}


@pytest.mark.parametrize("schedule", ["crop", "trim", "stream"])
def test_none_beside_outputs_comes_back(schedule):
    net, x = Nothing().eval(), torch.rand(1, 1, 40)
    found = oc.run(net, x, block=8, schedule=schedule)
    assert found.keys() == {"y", "mask"}
    assert found["mask"] is None
    assert torch.allclose(found["y"], net(x)["y"], atol=1e-6)
    assert oc.verify(net, x.shape, block=8, schedule=schedule).proved
