"""Results that are written where an operand was: never where somebody still reads."""

from __future__ import annotations

from collections.abc import Callable

import numpy
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import overlapcalc as oc

pytestmark = pytest.mark.usefixtures("traced_once")

SHAPE = (1, 4, 24, 10)
SCHEDULES = ("trim", "stream", "passes")


class Net(nn.Module):
    """A convolution and a group norm, or none, before and after some steps."""

    def __init__(self, steps: Callable[[Tensor], object], norm: bool = False, first: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(4, 4, 3, padding=1) if first else nn.Identity()
        self.norm = nn.GroupNorm(2, 4) if norm else nn.Identity()
        self.last = nn.Conv2d(4, 4, 3, padding=1)
        self.steps = steps

    def forward(self, x: Tensor) -> object:
        return self.steps(self.norm(self.first(x)))


def _skip(x: Tensor) -> Tensor:
    return x.relu() + x


def _view(x: Tensor) -> Tensor:
    """The view is read once, and the tensor behind it later."""
    y = x.reshape(1, 2, 2, *x.shape[2:]).relu().reshape(x.shape)
    return y + x


def _view_of_view(x: Tensor) -> Tensor:
    a = x.transpose(2, 3)
    b = a.transpose(2, 3).sigmoid()
    return b * a.transpose(2, 3)


def _halves(x: Tensor) -> Tensor:
    """Two parts of one memory."""
    a, b = x.chunk(2, 1)
    return torch.cat([a.relu() * b, b.tanh()], 1)


def _broadcast(x: Tensor) -> Tensor:
    return x[:, :1].expand(x.shape).relu() + 1


def _windows(x: Tensor) -> Tensor:
    """Windows that share samples in memory."""
    windows = x.unfold(2, 5, 2).relu() * 2
    return windows.sum(-1)


def _left(x: Tensor) -> tuple[Tensor, Tensor]:
    """What leaves is what is worked on."""
    return x, x.reshape(x.shape).relu()


def _twice(x: Tensor) -> Tensor:
    return (x * x).relu()


def _scanned(x: Tensor) -> Tensor:
    """The state of a scan may be a part of its result."""
    return x.cumsum(2).neg().exp().sigmoid()


def _chain(x: Tensor) -> Tensor:
    return (x.relu() * 2 + 1).sigmoid().sub(0.5)


STEPS = (_skip, _view, _view_of_view, _halves, _broadcast, _windows, _left, _twice, _scanned, _chain)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("steps", STEPS)
def test_nobody_reads_what_was_overwritten(steps: Callable[[Tensor], object], norm: bool, first: bool) -> None:
    net = Net(steps, norm, first).eval().double()
    x = torch.randn(SHAPE, dtype=torch.float64)
    kept, wanted = x.clone(), net(x.clone())
    for schedule in SCHEDULES if not norm and steps is not _scanned else ("passes",):
        found = oc.run(net, x, schedule=schedule, block=5, stream_axis=None if schedule == "trim" else "H")
        assert torch.equal(x, kept)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_users_array_stays(schedule: str) -> None:
    """What is read from it may be the array itself."""
    net = Net(_chain, first=False).eval()
    array = numpy.random.default_rng(0).standard_normal(SHAPE).astype(numpy.float32)
    kept, out = array.copy(), numpy.zeros(SHAPE, numpy.float32)
    oc.run(net, array, out=out, schedule=schedule, block=5, stream_axis=None if schedule == "trim" else "H")
    assert numpy.array_equal(array, kept)
    torch.testing.assert_close(torch.from_numpy(out), net(torch.from_numpy(kept)))


@pytest.mark.parametrize("keep", [True, False])
def test_what_is_stored_stays(keep: bool, tmp_path: object) -> None:
    """Two passes read what the first one stored, each with a step of its own."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first = nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            a = (y - y.mean((2, 3), keepdim=True)).relu()
            return a * y.sigmoid() - (y + a.amax((2, 3), keepdim=True)).relu()

    net, x = Twice().eval().double(), torch.randn(SHAPE, dtype=torch.float64)
    room = {"disk": 0} if keep else {"spill": str(tmp_path)}
    plan = oc.plan(net, SHAPE, dtype=torch.float64, schedule="passes", block=5, stream_axis="H", **room)
    assert plan.passes is not None
    assert {one.kept for one in plan.passes.stored} == {keep}
    found = oc.run(net, x, schedule="passes", block=5, stream_axis="H", **room)
    torch.testing.assert_close(found, net(x), rtol=0, atol=1e-12)


class _Calls(TorchDispatchMode):
    """Counts operators by name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: object, types: object, args: tuple = (), kwargs: dict | None = None) -> object:  # type: ignore[type-arg]
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))  # type: ignore[operator]


def test_a_chain_takes_no_memory_of_its_own() -> None:
    net, x = Net(_chain).eval(), torch.randn(SHAPE)
    tiled = oc.tiled(net, SHAPE, schedule="stream", block=5, stream_axis="H")
    tiled(x)
    with _Calls() as calls:
        tiled(x)
    bands = calls.names.count("aten.relu_.default")
    assert bands == 5
    for name in ("mul_.Tensor", "add_.Tensor", "sigmoid_.default", "sub_.Tensor"):
        assert calls.names.count(f"aten.{name}") == bands
    assert "aten.relu.default" not in calls.names


def test_what_another_reads_is_computed_elsewhere() -> None:
    net, x = Net(_skip).eval(), torch.randn(SHAPE)
    with _Calls() as calls:
        oc.run(net, x, schedule="stream", block=5, stream_axis="H")
    assert "aten.relu_.default" not in calls.names
    assert "aten.add_.Tensor" in calls.names  # into the result of relu, which nobody else reads


def test_the_nets_own_tensors_stay() -> None:
    """A result may be a part of a constant."""

    class Placed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("where", torch.randn(SHAPE))

        def forward(self, x: Tensor) -> Tensor:
            return torch.empty_like(x).copy_(self.where).sigmoid() * x  # type: ignore[arg-type]

    net, x = Placed().eval(), torch.randn(SHAPE)
    kept, wanted = net.where.clone(), net(x)  # type: ignore[operator]
    for schedule in ("trim", "stream"):
        found = oc.run(net, x, schedule=schedule, block=5, stream_axis=None if schedule == "trim" else "H")
        torch.testing.assert_close(found, wanted)
        assert torch.equal(net.where, kept)  # type: ignore[arg-type]
