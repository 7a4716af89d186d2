"""Nets on which an attack found passes wrong, or stuck."""

from __future__ import annotations

import os

import pytest
import torch
import torch.nn.functional as F
from shared.thorough import crossed
from torch import Tensor, nn

import overlapcalc as oc

pytestmark = pytest.mark.usefixtures("traced_once")


class Of(nn.Module):
    """A net of one function."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor):
        return self.function(x)


def apart(function, shape: tuple[int, ...], **options) -> float:
    """The largest difference between passes and the whole."""
    torch.manual_seed(0)
    net, x = Of(function), torch.randn(shape, dtype=torch.float64)
    with torch.no_grad():
        whole, parts = net(x), oc.run(net, x, schedule="passes", **options)
    pairs = zip(whole, parts, strict=True) if isinstance(whole, tuple) else [(whole, parts)]
    return max(float((a.double() - b.double()).abs().max()) for a, b in pairs)


POSITIONS = {
    "argmax of columns first": lambda x: x.flatten(2).argmax(-1),
    "max of columns first": lambda x: tuple(x.flatten(2).max(-1)),
    "min of rows first": lambda x: tuple(x.permute(0, 1, 3, 2).flatten(2).min(-1, keepdim=True)),
    "argmax of channels first": lambda x: x.flatten(1).argmax(1),
}


@pytest.mark.parametrize(("name", "axis"), crossed(POSITIONS, ["H", "W"]))
def test_positions_along_a_dimension_of_several_axes(name, axis):
    assert apart(POSITIONS[name], (2, 3, 7, 9), block=1, stream_axis=axis) == 0


class Keys(nn.Module):
    """Causal attention of pixels to constant keys."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("keys", torch.randn(1, 6, 4, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        y = F.scaled_dot_product_attention(x.transpose(1, 2), self.keys, self.keys, is_causal=True)
        return y.transpose(1, 2)


@pytest.mark.parametrize("schedule", ["trim", "stream", "passes"])
def test_causal_attention_to_constant_keys(schedule):
    net, x = Keys(), torch.randn(1, 4, 12, dtype=torch.float64)
    assert torch.allclose(oc.run(net, x, block=4, schedule=schedule), net(x), atol=1e-12)


def test_causal_attention_is_no_tile_of_the_net():
    with pytest.raises(oc.ObstacleError, match="up to its own place"):
        oc.run(Keys(), torch.randn(1, 4, 12, dtype=torch.float64), block=4, schedule="crop")


RANDOM = {
    "dropout of a mean": lambda x: x + F.dropout(x.mean((2, 3), keepdim=True), 0.5, True),
    "bernoulli of a mean": lambda x: x + torch.bernoulli(x.mean((2, 3), keepdim=True).sigmoid()),
    "noise beside a mean": lambda x: x.mean((2, 3)) + torch.randn(2, 3),
    "noise beside one number": lambda x: x.mean() + torch.rand(1),
}


@pytest.mark.parametrize("name", RANDOM)
def test_random_numbers_without_the_axis_are_refused(name):
    net, shape = Of(RANDOM[name]), (2, 3, 7, 9)
    with pytest.raises(oc.ObstacleError, match="no two runs"):
        oc.run(net, torch.randn(shape), schedule="passes")
    assert oc.analyze(net, shape).runs["H"].how == "nothing"


@pytest.mark.parametrize(("option", "value"), [("disk", "x"), ("disk", -5), ("spill", "")])
def test_a_wrong_place_or_amount_is_refused_by_its_name(option, value):
    with pytest.raises(oc.InputError, match=option):
        oc.plan(nn.GroupNorm(1, 2), (1, 2, 9, 6), schedule="passes", **{option: value})


def test_nothing_may_go_to_the_disk():
    net = nn.Sequential(nn.Conv2d(2, 2, 1), nn.GroupNorm(1, 2))
    plan = oc.plan(net, (1, 2, 9, 6), schedule="passes", disk=0)
    assert plan.passes.disk == 0
    assert [one.kept for one in plan.passes.stored] == [True]
    assert oc.plan(net, (1, 2, 9, 6), schedule="passes", disk=0, memory="1MiB").passes.disk == 0


def test_a_failed_run_keeps_no_file_open(tmp_path):
    class Failing:
        shape, dtype = (1, 32, 64, 6), "float32"

        def __setitem__(self, place, part):
            raise OSError("no more")

        def __getitem__(self, place):
            return torch.zeros(self.shape)[place]

    net, x = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.GroupNorm(1, 32)), torch.rand(1, 32, 64, 6)
    least = oc.plan(net, x.shape, schedule="passes", block=1, stored=True).memory.total
    net_in_passes = oc.tiled(net, schedule="passes", memory=least, spill=str(tmp_path))
    assert net_in_passes.plan(x.shape, stored=True).passes.disk > 0
    with pytest.raises(oc.InputError, match="no more") as kept:
        net_in_passes(x, out=Failing())
    held = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if n.isdigit()
            and os.path.islink(f"/proc/self/fd/{n}")]  # fmt: skip
    assert not [name for name in held if name.startswith(str(tmp_path))]
    assert kept.value is not None


def test_one_tensor_twice_in_a_reduction():
    assert apart(lambda x: torch.einsum("bchw,bchw->bc", x, x), (2, 3, 7, 8), block=1, stream_axis="H") <= 1e-12


def coordinates(x: Tensor) -> Tensor:
    """Coordinate attention: means along either axis, laid end to end."""
    rows = x.shape[2]
    z = torch.cat([x.mean(3, keepdim=True), x.mean(2, keepdim=True).transpose(2, 3)], 2).tanh()
    return x * z[:, :, :rows].sigmoid() * z[:, :, rows:].transpose(2, 3).sigmoid()


ACROSS = {
    "coordinate attention": coordinates,
    "columns as rows": lambda x: x + x.mean(2).unsqueeze(3),
    "rows as columns": lambda x: x + x.mean(3).unsqueeze(2),
    "a Gram matrix": lambda x: x.transpose(2, 3) @ x + x,
    "two Gram matrices": lambda x: x @ x.mT + x.mT @ x,
    "a softmax of one": lambda x: (x.mT @ x).softmax(-1) + x.softmax(2),
}


@pytest.mark.parametrize(("name", "axis"), crossed(ACROSS, ["H", "W"]))
def test_one_axis_laid_along_the_other(name, axis):
    assert apart(ACROSS[name], (1, 2, 7, 7), block=2, stream_axis=axis) <= 1e-12
