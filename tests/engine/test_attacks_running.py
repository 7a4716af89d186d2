"""Nets that were built to give something else by blocks. Each gives what it gives whole, or is refused by name."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from shared.once import Traces
from torch import Tensor, nn

import overlapcalc as oc

TOLERANCE = 1e-12


class Net(nn.Module):
    def __init__(self, function: Any, **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *xs: Tensor) -> Any:
        return self.function(self, *xs)


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def agrees(model: nn.Module, x: Tensor, **options: Any) -> bool:
    """By blocks as whole; and the caller's image as it was."""
    torch.manual_seed(0)
    model = model.double().eval()
    with torch.no_grad():
        whole = copy.deepcopy(model)(x.clone())
    given = x.clone(memory_format=torch.preserve_format)
    y = oc.run(model, given, **options)
    assert torch.equal(given, x)
    return y.shape == whole.shape and float((y - whole).abs().max()) <= TOLERANCE * float(whole.abs().max())


# ---- writing to the input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conv", "shape", "options"),
    [
        (nn.Conv1d(1, 1, 3, padding=1), (1, 1, 64), {"block": 8}),
        (nn.Conv1d(1, 1, 3, padding=1), (1, 1, 64), {"block": 64}),
        (nn.Conv2d(1, 1, 3, padding=1), (1, 1, 64, 32), {"block": 8, "axes": "H"}),
        (nn.Conv2d(1, 1, 3, padding=1), (1, 1, 30, 32), {"block": 8}),
    ],
)
def test_a_net_that_writes_to_its_input(conv, shape, options):
    """Tiles of one channel cut along the first axis alone lie in the image as they are: they overlap in memory."""
    assert agrees(Net(lambda s, x: s.conv(x.mul_(2)), conv=conv), image(*shape), **options)


def test_a_net_that_writes_to_its_input_is_proved():
    assert oc.verify(Net(lambda s, x: s.conv(x.mul_(2)), conv=nn.Conv2d(1, 1, 3, padding=1)), (1, 1, 40, 40)).proved


# ---- which net a tile gets -----------------------------------------------------------------------------------


@pytest.mark.parametrize("compared", [lambda h, w: h < w, lambda h, w: 4 * h < 3 * w, lambda h, w: h * w < 999])
def test_a_net_that_looks_at_the_shape_of_a_tile(compared):
    """The longest tile and the shortest are wider than high; a high one that is narrow is not."""
    model = Net(lambda s, x: s.c(x) if compared(*x.shape[2:]) else -s.c(x), c=nn.Conv2d(1, 1, 3, padding=1))
    assert agrees(model, image(1, 1, 58, 72), block={"H": 49, "W": 59})


def test_a_net_that_looks_at_the_type():
    model = Net(lambda s, x: x if x.dtype is torch.float32 else x - x.mean((2, 3), keepdim=True))
    with pytest.raises(oc.ObstacleError, match="mean"):
        oc.run(model, image(1, 1, 20, 20), block=8)


def test_a_net_that_looks_at_the_order_in_memory():
    model = Net(lambda s, x: s.c(x) if x.is_contiguous() else -s.c(x), c=nn.Conv2d(4, 1, 3, padding=1))
    assert agrees(model, image(1, 4, 32, 28).transpose(2, 3), block=6)
    assert agrees(model, image(1, 4, 32, 28).to(memory_format=torch.channels_last), block=6)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear"])
@pytest.mark.parametrize(("factor", "size"), [(1.1, 47), (1.3, 42), (1.3, 82), (2.1, 45), (1.5, 31), (3.1, 43)])
def test_tiles_on_which_resampling_is_a_copy(mode, factor, size):
    """1.3 times 2 samples are 2 samples: torch copies them, whatever the factor."""
    model = Net(lambda s, x: F.interpolate(x, scale_factor=factor, mode=mode))
    assert agrees(model, image(1, 1, size), block=1)


# ---- memory --------------------------------------------------------------------------------------------------


class Calls(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.n = 0

    def forward(self, x: Tensor) -> Tensor:
        self.n += 1
        return x * self.n


class Previous(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.previous = nn.Conv2d(1, 1, 3, padding=1), None

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        y, self.previous = (y if self.previous is None else y + self.previous), y
        return y


class First(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(1)
        return x * (2 if len(self.seen) == 1 else 1)


@pytest.mark.parametrize("make", [Calls, Previous, First])
def test_a_net_that_remembers_its_calls_is_refused(make):
    with pytest.raises(oc.WrongTileError, match="same tile again"):
        oc.run(make().double(), image(1, 1, 20, 20), block=8)
    with pytest.raises(oc.WrongTileError, match="same tile again"):
        list(oc.blocks(make().double(), image(1, 1, 20, 20), block=8))


def test_a_net_that_only_keeps_what_it_saw_is_run():
    class Keeps(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            self.last = x.shape, x
            return 2 * x

    try:
        oc.analyze(Keeps(), (1, 1, 20, 20))
    except oc.TraceError:
        pytest.skip("torch.export of this version does not trace it")
    assert agrees(Keeps(), image(1, 1, 20, 20), block=8)


def test_a_cache_that_tracing_filled_is_said():
    """The net keeps a tensor outside of itself, made on first use."""
    kept: dict[int, Tensor] = {}

    class Cached(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if 5 not in kept:
                kept[5] = torch.ones(1, 1, 5, dtype=x.dtype) / 5
            return F.conv1d(x, kept[5], padding=2)

    x = image(1, 1, 20)
    with pytest.raises(oc.OverlapcalcError, match="call the net once on an image before"):
        oc.run(Cached(), x, block=16)
    kept.clear()
    net = Cached()
    whole = net(x)
    with Traces().once():
        for schedule in ("crop", "trim", "stream"):
            assert float((oc.run(net, x, block=8, schedule=schedule) - whole).abs().max()) <= 1e-12


class Masked(nn.Conv2d):
    def __init__(self) -> None:
        super().__init__(1, 1, 5)
        self.register_buffer("mask", F.pad(torch.ones(1, 1, 3, 3), (1, 1, 1, 1)))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.mask, padding=2)


def test_a_mask_that_is_loaded_after_planning():
    torch.manual_seed(0)
    model, x = Masked().double(), image(1, 1, 40, 40)
    net = oc.tiled(model, x.shape, block=8)
    with torch.no_grad():
        assert float((net(x) - model(x)).abs().max()) <= TOLERANCE
        model.load_state_dict({**model.state_dict(), "mask": torch.ones(1, 1, 5, 5)})
        assert float((net(x) - model(x)).abs().max()) <= TOLERANCE


# ---- proofs --------------------------------------------------------------------------------------------------


def test_an_operator_on_a_coarser_grid_than_its_rule_says_is_refuted():
    """Means over aligned 8x8 tiles, called local: right on every block that starts on a multiple of 8."""

    @torch.library.custom_op("overlapcalc_attacks::means", mutates_args=())
    def means(x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        y = F.pad(x, (0, -w % 8, 0, -h % 8), mode="replicate")
        return x + F.interpolate(F.avg_pool2d(y, 8), scale_factor=8)[..., :h, :w]

    means.register_fake(torch.empty_like)
    oc.rule("overlapcalc_attacks::means")(lambda call: call.identity())
    try:
        for shape in (None, (1, 1, 64, 64)):
            model = Net(
                lambda s, x: torch.ops.overlapcalc_attacks.means(s.c(x)), c=nn.Conv2d(1, 1, 3, padding=1)
            ).double()
            v = oc.verify(model, shape)
            assert v["dependency"].status == v["values"].status == "refuted"
    finally:
        oc.unregister("overlapcalc_attacks::means")


@pytest.mark.parametrize("bad", [lambda x: 0 * x.log(), lambda x: torch.where(x > 1, torch.inf, 0.0)])
def test_a_value_that_is_not_finite_hides_no_difference(bad):
    """Outputs with NaN or infinity in them, on tiles without context; the twin has no complex numbers."""
    model = Net(lambda s, x: torch.complex(s.c(x), x).abs() + bad(x), c=nn.Conv2d(1, 1, 3, padding=1))
    assert oc.verify(model, (1, 1, 40, 40), tile=0)["values"].status == "refuted"
    v = oc.verify(model, (1, 1, 40, 40))
    assert v["values"].status == "proved"
    assert v["poisoned borders"].status == "not applicable"


def test_inputs_of_whole_numbers_are_proved():
    model = Net(lambda s, x: s.c(s.e(x).permute(0, 3, 1, 2)), c=nn.Conv2d(4, 1, 3, padding=1), e=nn.Embedding(9, 4))
    v = oc.verify(model, torch.randint(9, (1, 40, 40)), layout="NHW")
    assert v.proved
    assert v["exact twin"].status != "refuted"
    assert not oc.verify(model, torch.randint(9, (1, 40, 40)), layout="NHW", tile=0).proved


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device": "gpu"}, "no such device"),
        ({"device": "meta"}, "cpu and cuda"),
        ({"dtype": "int8"}, "floating type"),
        ({"tile": 1.5}, "before, after"),
        ({"tile": (1, 2, 3)}, "before, after"),
        ({"tile": (1,)}, "before, after"),
        ({"tile": {"Q": 1}}, "no axis 'Q'"),
    ],
)
def test_options_of_verify_that_mean_nothing_are_refused(options, said):
    with pytest.raises(oc.InputError, match=said):
        oc.verify(nn.Conv2d(1, 1, 3, padding=1), (1, 1, 24, 24), **options)


def test_tiles_by_axis_and_types_by_name():
    assert oc.verify(nn.Conv2d(1, 1, 3, padding=1), (1, 1, 24, 24), dtype="bfloat16", tile={"W": 1, "H": (1, 1)}).proved


# ---- figures and the command line ----------------------------------------------------------------------------


class Windows(nn.Module):
    """Attention within windows of 4x4: 80 of them, 16 queries and 16 keys of 8 channels each."""

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        t = x.view(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 1, 16, c)
        y = F.scaled_dot_product_attention(t, t, t)
        return y.view(n, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)


def with_bias_of_data(s: nn.Module, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    t = x.permute(0, 2, 3, 1).reshape(-1, c)
    return torch.addmm(t, t, s.weight).reshape(n, h, w, c).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("model", "shape", "macs"),
    [
        (Windows(), (1, 8, 32, 40), 80 * 16 * 16 * (8 + 8)),
        (Net(with_bias_of_data, weight=nn.Parameter(torch.randn(4, 4))), (2, 4, 20, 24), 2 * 20 * 24 * 4 * 4),
        (Net(lambda s, x: torch.einsum("nchw,ndhw->ncdhw", x, x).flatten(1, 2)), (2, 4, 20, 24), 2 * 20 * 24 * 4 * 4),
    ],
)
def test_macs_of_products_of_data_by_hand(model, shape, macs):
    made = oc.plan(model, shape, block=8)
    assert made.full.macs == made.full.kernel_macs == macs
    assert made.work.macs == macs


@pytest.mark.parametrize(
    "arguments", [["--image", "²x5"], ["--tile", "²"], ["--input", "1x3x²x8"]], ids=["image", "tile", "input"]
)
def test_digits_that_are_no_numbers(arguments, capsys):
    from overlapcalc.cli import main

    assert (
        main(
            [
                "verify",
                "torch.nn:Conv2d",
                "--kwargs",
                '{"in_channels": 3, "out_channels": 3, "kernel_size": 3}',
                *arguments,
            ]
        )
        == 2
    )
    assert "expected" in capsys.readouterr().err


def test_an_empty_batch_is_refused():
    with pytest.raises(oc.InputError, match="holds nothing"):
        oc.run(nn.Conv2d(1, 1, 3), torch.zeros(0, 1, 20, 20), block=8)


def test_a_copy_of_a_tiled_net_plans_for_its_own_model():
    torch.manual_seed(0)
    x = image(1, 1, 40, 40)
    net = oc.tiled(Masked().double(), x.shape, block=8)
    twin = copy.deepcopy(net)
    with torch.no_grad():
        twin.model.mask = torch.ones(1, 1, 5, 5, dtype=torch.float64)
        assert float((twin(x) - twin.model(x)).abs().max()) <= TOLERANCE
        twin.model = nn.Conv2d(1, 1, 9, padding=4).double()
        assert float((twin(x) - twin.model(x)).abs().max()) <= TOLERANCE
        assert float((net(x) - net.model(x)).abs().max()) <= TOLERANCE


@pytest.mark.parametrize("which", ["pieces", "attributes", "made"])
def test_the_same_calls_on_other_tensors_are_another_net(which):
    """Wide tiles take one of two tensors, high ones the other: the calls are the same."""

    class Either(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.tensor(2.0), torch.tensor(-3.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            wide = x.shape[-1] > x.shape[-2]
            a, b = x.chunk(2, 1)
            if which == "pieces":
                return (a if wide else b) + 1
            if which == "attributes":
                return a * (self.first if wide else self.second)
            return a * torch.tensor([2.0 if wide else -3.0], dtype=x.dtype)

    x = torch.rand(1, 2, 58, 72, dtype=torch.float64)
    whole = Either()(x)
    try:
        y = oc.run(Either(), x, block={"H": 49, "W": 59})
    except oc.OverlapcalcError:
        return
    assert torch.equal(y, whole)


@pytest.mark.parametrize("schedule", ["crop", "trim", "stream"])
def test_an_image_of_which_nothing_is_left_is_refused(schedule):
    """One sample more, and there is one row."""
    net = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ZeroPad2d((0, 0, -10, -10)))
    with pytest.raises(oc.InputError, match="on 1x1x20x40 output is empty along H; give a larger image"):
        oc.tiled(net, (1, 1, 20, 40), schedule=schedule, block=8)
    assert oc.tiled(net, (1, 1, 21, 40), schedule=schedule, block=8)(torch.rand(1, 1, 21, 40)).shape == (1, 1, 1, 40)
