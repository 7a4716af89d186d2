"""Nets that look at more than the values of a tile: its shape, its order in memory, what they kept. They give by blocks
what they give whole, or are refused by name."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from shared.blockwise import Fn, image
from shared.once import Traces
from shared.thorough import few
from torch import Tensor, nn

import overlapcalc as oc

TOLERANCE = 1e-12


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
    assert agrees(Fn(lambda s, x: s.conv(x.mul_(2)), conv=conv), image(*shape), **options)


@pytest.mark.parametrize("compared", few([lambda h, w: h < w, lambda h, w: 4 * h < 3 * w, lambda h, w: h * w < 999], 1))
def test_a_net_that_looks_at_the_shape_of_a_tile(compared):
    """The longest tile and the shortest are wider than high; a high one that is narrow is not."""
    model = Fn(lambda s, x: s.c(x) if compared(*x.shape[2:]) else -s.c(x), c=nn.Conv2d(1, 1, 3, padding=1))
    assert agrees(model, image(1, 1, 58, 72), block={"H": 49, "W": 59})


def test_a_net_that_looks_at_the_type():
    model = Fn(lambda s, x: x if x.dtype is torch.float32 else x - x.mean((2, 3), keepdim=True))
    with pytest.raises(oc.ObstacleError, match="mean"):
        oc.run(model, image(1, 1, 20, 20), block=8, schedule="crop")


def test_a_net_that_looks_at_the_order_in_memory():
    model = Fn(lambda s, x: s.c(x) if x.is_contiguous() else -s.c(x), c=nn.Conv2d(4, 1, 3, padding=1))
    assert agrees(model, image(1, 4, 32, 28).transpose(2, 3), block=6)
    assert agrees(model, image(1, 4, 32, 28).to(memory_format=torch.channels_last), block=6)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear"])
@pytest.mark.parametrize(("factor", "size"), few([(1.1, 47), (1.3, 42), (1.3, 82), (2.1, 45), (1.5, 31), (3.1, 43)], 3))
def test_tiles_on_which_resampling_is_a_copy(mode, factor, size):
    """1.3 times 2 samples are 2 samples: torch copies them, whatever the factor."""
    model = Fn(lambda s, x: F.interpolate(x, scale_factor=factor, mode=mode))
    assert agrees(model, image(1, 1, size), block=1)


@pytest.mark.parametrize("which", few(["pieces", "attributes", "made"], 1))
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
        for schedule in ("crop", "stream"):
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
