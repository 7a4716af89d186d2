"""Operators without a law at every size: what they read at this size, and trim and stream by that."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from shared.oracle import Dependency
from shared.thorough import crossed, few
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.algebra.spans import Span, Spans
from overlapcalc.ops.rules import pad, pool
from overlapcalc.propagate import split
from overlapcalc.propagate.backward import sized

pytestmark = pytest.mark.usefixtures("traced_once")

Function = Callable[[Tensor], Tensor]


class Do(nn.Module):
    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor, *more: Tensor) -> Tensor:
        return self.function(x, *more)


def listed(x: Tensor) -> Tensor:
    return x[..., [3, 5, 1, 1, x.shape[-1] - 1, 0]]


def written_into(x: Tensor) -> Tensor:
    return torch.slice_scatter(x, 2 * x[..., 1:4], -1, 5, 8)


COPIES: dict[str, Function] = {
    "circular padding": lambda x: F.pad(x, (3, 2), "circular"),
    "roll": lambda x: x.roll(5, -1),
    "roll twice along one axis": lambda x: x.roll((5, -2), (-1, -1)),
    "flip": lambda x: x.flip(-1),
    "cat": lambda x: torch.cat([x, x[..., 2:7], x.flip(-1)], -1),
    "halves changed": lambda x: torch.cat([x[..., x.shape[-1] // 2 :], x[..., : x.shape[-1] // 2]], -1),
    "a list": listed,
    "index_select": lambda x: x.index_select(-1, torch.tensor([4, 0, 0, 9])),
    "repeat": lambda x: x.repeat(1, 1, 2),
    "written into": written_into,
    "nearest to a size": lambda x: F.interpolate(x, 9),
    "nearest exact to a size": lambda x: F.interpolate(x, 25, mode="nearest-exact"),
    "adaptive mean": lambda x: F.adaptive_avg_pool1d(x, x.shape[-1] // 3 + 1),
    "adaptive maximum": lambda x: F.adaptive_max_pool1d(x, x.shape[-1] // 2 + 1),
    "scales that differ": lambda x: x[..., ::2] + x[..., : -(-x.shape[-1] // 2)],
    "an absolute position": lambda x: x * torch.linspace(-1, 1, x.shape[-1], dtype=x.dtype),
}
"""Along one axis, each output is made of samples that are read for certain."""
WEIGHTED: dict[str, Function] = {
    "linear, corners aligned": lambda x: F.interpolate(x, scale_factor=2, mode="linear", align_corners=True),
    "linear to a size": lambda x: F.interpolate(x, 9, mode="linear"),
    "linear, fewer, corners aligned": lambda x: F.interpolate(x, x.shape[-1] // 2, mode="linear", align_corners=True),
    "linear by no fraction": lambda x: F.interpolate(x, scale_factor=3**0.5, mode="linear"),
}
"""Where a position is a whole number, rounding may give the neighbour a weight."""
PLANES: dict[str, Function] = {
    "circular": lambda x: F.pad(x, (3, 2, 1, 4), "circular"),
    "roll": lambda x: x.roll((5, -3), (2, 3)),
    "flip": lambda x: x.flip(-1, -2),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, (5, 14)),
    "cubic, corners aligned": lambda x: F.interpolate(x, (17, 6), mode="bicubic", align_corners=True),
    "cubic by no fraction": lambda x: F.interpolate(x, scale_factor=(3**0.5, 2**-0.5), mode="bicubic"),
    "antialiased": lambda x: F.interpolate(x, (7, 16), mode="bilinear", antialias=True),
    "rows repeated": lambda x: x.repeat(1, 1, 2, 1),
}


def net_here(net: nn.Module, x: Tensor):
    """The propagation by the laws of this size, and its output."""
    found = oc.analyze(net, x).variants.here
    return found.net, found.output_node("output")


def image(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", few(COPIES, 8))
def test_a_table_is_what_brute_force_reads(name: str) -> None:
    net = Do(COPIES[name])
    for size in random.Random(name).sample(range(10, 21), 2):
        x = image(1, 1, size)
        truth = Dependency(net, x, 2)
        graph, node = net_here(net, x)
        for o in range(truth.out_size):
            found = sized(graph, node, "L", Spans.span(o, o + 1)).reads.get("x", Spans())
            assert list(found.indices()) == truth.matrix[o].nonzero().flatten().tolist(), (size, o)


@pytest.mark.parametrize("name", WEIGHTED)
def test_a_table_of_weights_has_what_brute_force_reads(name: str) -> None:
    net = Do(WEIGHTED[name])
    for size in random.Random(name).sample(range(10, 21), 2):
        x = image(1, 1, size)
        truth = Dependency(net, x, 2, zero_taps=True)
        graph, node = net_here(net, x)
        for o in range(truth.out_size):
            found = sized(graph, node, "L", Spans.span(o, o + 1)).reads["x"].hull
            first, stop = truth.hull(o, o + 1)
            assert first - 1 <= found.start <= first, (size, o)
            assert stop <= found.stop <= stop + 1, (size, o)


def between(function: Function, planes: bool = False) -> nn.Module:
    """The function between two convolutions."""
    conv = nn.Conv2d if planes else nn.Conv1d
    torch.manual_seed(0)
    return nn.Sequential(conv(1, 2, 3, padding=1), Do(function), conv(2, 1, 3, padding=1)).double().eval()


@pytest.mark.parametrize(("name", "schedule"), crossed([*COPIES, *WEIGHTED], ["trim", "stream"]))
def test_trim_and_stream_are_the_whole(name: str, schedule: str) -> None:
    net = between({**COPIES, **WEIGHTED}[name])
    x = image(1, 1, random.Random(name).randrange(13, 30))
    with torch.no_grad():
        whole = net(x)
    assert torch.allclose(oc.run(net, x, block=5, schedule=schedule), whole, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", few(PLANES, 4))
def test_planes(name: str) -> None:
    net, x = between(PLANES[name], planes=True), image(1, 1, 11, 12)
    with torch.no_grad():
        whole = net(x)
    for schedule in ("trim", "stream"):
        assert torch.allclose(oc.run(net, x, block=5, schedule=schedule), whole, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", ["circular padding", "roll", "repeat", "cat", "a list"])
def test_parts_of_several_spans(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no gap filled, what blocks need of small images is several spans too."""
    monkeypatch.setattr(split, "GAP", 0)
    net, x = between(COPIES[name]), image(1, 1, 23)
    with torch.no_grad():
        whole = net(x)
    for schedule in ("trim", "stream"):
        for given in (x, x.numpy()):
            assert torch.allclose(oc.run(net, given, block=5, schedule=schedule), whole, atol=1e-12, rtol=0)


def test_planes_of_several_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "GAP", 0)
    net, x = between(PLANES["circular"], planes=True), image(1, 1, 11, 12)
    with torch.no_grad():
        whole = net(x)
    for schedule in ("trim", "stream"):
        assert torch.allclose(oc.run(net, x, block=5, schedule=schedule), whole, atol=1e-12, rtol=0)


def test_a_part_that_was_dropped_too_early_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first rows of a circular image are read again at its end."""
    monkeypatch.setattr(split, "GAP", 0)
    net, x, right = between(COPIES["circular padding"]), image(1, 1, 23), split.SplitFront.unread

    def forgetful(front: split.SplitFront, name: str) -> Spans:
        kept = right(front, name)
        return Spans(kept.parts[-1:])

    monkeypatch.setattr(split.SplitFront, "unread", forgetful)
    with pytest.raises(AssertionError):
        oc.run(net, x, block=5, schedule="stream")


@pytest.mark.parametrize("schedule", few(["trim", "stream"], 1))
def test_a_circular_net_takes_hardly_more_memory_than_with_zeros(schedule: str) -> None:
    held = []
    for mode in ("zeros", "circular"):
        net = nn.Sequential(*[nn.Conv2d(4, 4, 3, padding=1, padding_mode=mode) for _ in range(3)])
        plan = oc.plan(net, (1, 4, 256, 64), block={"H": 16}, schedule=schedule, stored=True)
        assert plan.memory is not None
        held.append(plan.memory.activations)
    assert held[1] <= 1.2 * held[0]


def test_an_axis_that_is_not_cut_is_as_it_is() -> None:
    net, x = between(lambda x: F.pad(x, (1, 1, 0, 0), "circular"), planes=True), image(1, 1, 12, 9)
    with torch.no_grad():
        whole = net(x)
    for schedule in ("trim", "stream"):
        assert torch.allclose(oc.run(net, x, block=5, schedule=schedule, axes="H"), whole, atol=1e-12, rtol=0)


@pytest.mark.parametrize("pooling", ["mean", "maximum", "local response norm"])
def test_pooling_over_channels_is_as_it_is(pooling: str) -> None:
    net = {
        "mean": Do(lambda x: F.avg_pool3d(x[:, None], (3, 2, 3), 1, (1, 0, 1), count_include_pad=False)[:, 0]),
        "maximum": Do(lambda x: F.max_pool3d(x[:, None], (3, 1, 3), (2, 1, 2), (1, 0, 1))[:, 0]),
        "local response norm": nn.LocalResponseNorm(3),
    }[pooling]
    x = image(1, 5, 9, 14) - 0.5
    for schedule in ("trim", "stream"):
        assert torch.allclose(oc.run(net, x, block=5, schedule=schedule), net(x), atol=1e-12, rtol=0)


def test_one_sample_of_an_axis_that_is_spread() -> None:
    net = Do(lambda x, level: F.avg_pool1d(x * level, 3, 1, 1))
    x, level = image(1, 1, 17), image(1, 1, 1, seed=1)
    for schedule in ("trim", "stream"):
        found = oc.run(net, x, level, block=5, schedule=schedule)
        assert torch.allclose(found, net(x, level), atol=1e-12, rtol=0)


def test_a_stream_is_taken_where_crop_cannot_run() -> None:
    net, x = between(COPIES["flip"]), image(1, 1, 20)
    plan = oc.plan(net, x, block=5)
    assert plan.schedule == "stream"
    assert oc.tiled(net, block=5).plan((1, 1, 20)).schedule == "stream"
    with pytest.raises(oc.ObstacleError, match=r"flips the axis.*trim and stream can, at this size: schedule='stream'"):
        oc.plan(net, x, block=5, schedule="crop")


def test_a_budget_tries_what_runs() -> None:
    net = between(COPIES["adaptive mean"])
    plan = oc.plan(net, (1, 1, 400), memory="16KiB", dtype="float64")
    assert plan.schedule in ("trim", "stream")
    assert plan.memory is not None
    assert plan.memory.total <= 16 * 1024


def test_what_has_no_table_is_refused_by_every_schedule() -> None:
    net = nn.Sequential(Do(lambda x: x.flip(-1)), nn.Softmax(-1))
    for schedule in ("crop", "trim", "stream"):
        with pytest.raises(oc.ObstacleError) as error:
            oc.plan(net, (1, 1, 20), block=5, schedule=schedule)
        assert "trim and stream can" not in str(error.value)


def test_a_net_without_obstacles_has_the_laws_of_every_size() -> None:
    found = oc.analyze(nn.Conv1d(1, 1, 3, padding=1), (1, 1, 20)).variants
    assert found.here is found


def test_types_that_take_other_samples_are_refused() -> None:
    """Output 30 takes sample 22 in one type and 23 in the other, or the like: nothing says which one a kernel uses."""
    net, size = Do(lambda x: F.interpolate(x, scale_factor=1.3333334)), 300
    wide, narrow = (net(torch.arange(size, dtype=t)[None, None]) for t in (torch.float64, torch.float32))
    assert not torch.equal(wide, narrow.double())
    with pytest.raises(oc.ObstacleError, match=r"1\.3333334"):
        oc.plan(net, (1, 1, size), block=40, schedule="stream")


@pytest.mark.parametrize("name", few(["circular padding", "adaptive mean", "linear, corners aligned", "cat"], 2))
def test_verify_proves_them(name: str) -> None:
    net = between({**COPIES, **WEIGHTED}[name])
    found = oc.verify(net, image(1, 1, 16), block=6)
    assert found.plan.schedule == "stream"
    assert {proof.name for proof in found.proofs if proof.status == "proved"} == {
        "dependency", "poisoned borders", "exact twin", "values",
    }  # fmt: skip


def test_a_window_one_sample_short_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    right = pool._window

    def short(o: int, size: int, out: int) -> Span:
        span = right(o, size, out)
        return Span(span.start, span.stop - 1) if o == 2 else span

    monkeypatch.setattr(pool, "_window", short)
    found = oc.verify(between(COPIES["adaptive mean"]), image(1, 1, 16), block=6, schedule="trim")
    refuted = {proof.name for proof in found.proofs if proof.status == "refuted"}
    assert {"poisoned borders", "exact twin", "values"} <= refuted


def test_a_circular_padding_off_by_one_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    right = pad._wrapped
    monkeypatch.setattr(pad, "_wrapped", lambda call, d: [(i + 1) % call.shapes[0][d] for i in right(call, d)])
    found = oc.verify(between(COPIES["circular padding"]), image(1, 1, 16), block=6, schedule="trim")
    assert {"exact twin", "values"} <= {proof.name for proof in found.proofs if proof.status == "refuted"}
