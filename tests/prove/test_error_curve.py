"""`error_curve`: against tiles that are cut by hand, and against formulas."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.planning.shorter import ShorterTiles
from overlapcalc.prove.error_curve import ErrorCurve, ErrorPoint, SeamError


def by_hand(net: nn.Module, x: Tensor, block: int, before: int, after: int, step: int = 1, out_step: int = 1) -> Tensor:
    """The last axis in blocks of so many steps, by slicing alone."""
    whole, n = net(x), x.shape[-1]
    y = torch.full_like(whole, torch.nan)
    for u in range(0, -(-n // step), block):
        start, stop = max(0, u * step - before), min(n, (u + block) * step + after)
        part = net(x[..., start:stop])
        skip = (u * step - start) // step * out_step
        length = y[..., u * out_step : (u + block) * out_step].shape[-1]
        y[..., u * out_step : u * out_step + length] = part[..., skip : skip + length]
    return y


def conv() -> nn.Module:
    return nn.Sequential(nn.Conv1d(1, 2, 5, padding=2), nn.Tanh(), nn.Conv1d(2, 1, 4, padding="same"))


def strided() -> nn.Module:
    down = nn.Conv1d(1, 2, 5, stride=2, padding=2)
    return nn.Sequential(down, nn.Tanh(), nn.Conv1d(2, 2, 4, stride=2, padding=1), nn.Conv1d(2, 1, 3, padding=1))


def upsampling() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(1, 2, 5, padding=2), nn.ConvTranspose1d(2, 1, 6, 2, 2), nn.Conv1d(1, 1, 9, padding=4)
    )


def there_and_back() -> nn.Module:
    return nn.Sequential(strided(), nn.Upsample(scale_factor=4), nn.Conv1d(1, 1, 7, padding=3))


@pytest.mark.parametrize(
    ("make", "size", "block", "step", "out_step"),
    [(conv, 41, 8, 1, 1), (strided, 80, 4, 4, 1), (upsampling, 30, 5, 1, 2), (there_and_back, 64, 4, 4, 4)],
)
def test_the_errors_are_those_of_tiles_cut_by_hand(make, size, block, step, out_step):
    torch.manual_seed(3)
    net, x = make().double(), torch.randn(1, 1, size, dtype=torch.float64)
    curve = oc.error_curve(net, x, block=block * max(step, out_step))
    exact = curve.points[-1].tile["L"]
    assert tuple(exact) == tuple(oc.analyze(net, x.shape)["L"].tile)
    longest = max(exact)
    assert [max(p.tile["L"]) for p in curve.points] == list(range(0, longest + 1, step))
    for point in curve.points:
        before, after = point.tile["L"]
        with torch.no_grad():
            apart = (by_hand(net, x, block, before, after, step, out_step) - net(x)).abs()
        error = point.errors["output"]
        assert error.largest == pytest.approx(float(apart.max()), rel=1e-9, abs=1e-14)
        assert error.rms == pytest.approx(float(apart.square().mean().sqrt()), rel=1e-9, abs=1e-14)
        assert error.differing == float((apart > 1e-12).double().mean())
    assert curve.consistent
    assert curve.points[-1].largest < 1e-14
    assert all(point.largest > 1e-6 for point in curve.points[:-1])  # a step less leaves a seam


@pytest.mark.parametrize("k", [1, 3, 50])
def test_an_average_of_ones_lacks_the_taps_beyond_the_tile(k):
    n = 8 * (k + 2)
    curve = oc.error_curve(nn.AvgPool1d(2 * k + 1, 1, k), torch.ones(1, 1, n), block=2 * (k + 2), below=0.1)
    width, found = 2 * k + 1, {p.tile["L"].before: p for p in curve.points}
    assert {0, k} <= set(found)
    assert len(found) <= 20 + 6
    for m, point in found.items():
        error = point.errors["output"]
        assert point.tile["L"] == oc.Sides(m, m)
        assert error.largest == pytest.approx((k - m) / width, abs=1e-12)
        seams = [(k - m - i) / width for i in range(k - m)]  # on each side of three seams
        assert error.rms == pytest.approx((6 * sum(e * e for e in seams) / n) ** 0.5, abs=1e-12)
        assert error.differing == 6 * len(seams) / n
    first = next(m for m in range(k + 1) if (k - m) / width < 0.1)
    assert curve.enough.tile["L"].before == first  # to a step, whatever the grid


def test_two_axes_are_cut_together():
    torch.manual_seed(0)
    net, x = nn.Conv2d(1, 1, (3, 7), padding=(1, 3)).double(), torch.randn(1, 1, 12, 24, dtype=torch.float64)
    curve = oc.error_curve(net, x, block=(4, 8))
    assert [(tuple(p.tile["H"]), tuple(p.tile["W"])) for p in curve.points] == [
        ((min(m, 1), min(m, 1)), (m, m)) for m in range(4)
    ]
    for point in curve.points:
        h, w = point.tile["H"].before, point.tile["W"].before
        apart = 0.0
        with torch.no_grad():
            whole = net(x)
            for r in range(0, 12, 4):
                for c in range(0, 24, 8):
                    top, left = max(0, r - h), max(0, c - w)
                    part = net(x[:, :, top : r + 4 + h, left : c + 8 + w])
                    part = part[:, :, r - top : r - top + 4, c - left : c - left + 8]
                    apart = max(apart, float((part - whole[:, :, r : r + 4, c : c + 8]).abs().max()))
        assert point.largest == pytest.approx(apart, abs=1e-14)


class Squeezed(nn.Module):
    """Squeeze-and-excitation between two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv1d(1, 4, 3, padding=1), nn.Conv1d(4, 1, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.b(x * x.mean(-1, keepdim=True).sigmoid())


def test_a_net_with_an_obstacle_has_a_curve_up_to_the_whole_image():
    torch.manual_seed(1)
    net, x = Squeezed().double(), torch.randn(1, 1, 48, dtype=torch.float64)
    curve = oc.error_curve(net, x, block=12)
    assert curve.whole
    assert [o.axis for o in curve.obstacles] == ["L"]
    assert curve.local == {"L": oc.Sides(3, 3)}
    sides = [p.tile["L"].before for p in curve.points]
    assert (sides[0], 3 in sides, sides[-1]) == (0, True, 36)  # the last of four blocks begins at 36
    for point in curve.points:
        with torch.no_grad():
            apart = (by_hand(net, x, 12, *point.tile["L"]) - net(x)).abs()
        assert point.largest == pytest.approx(float(apart.max()), abs=1e-14)
    assert all(point.largest > 1e-6 for point in curve.points[:-1])
    assert curve.points[-1].largest == 0


def test_a_net_that_carries_a_state_begins_anew_in_every_tile():
    class Gru(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru, self.conv = nn.GRU(1, 3, batch_first=True), nn.Conv1d(3, 1, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(self.gru(x.transpose(1, 2))[0].transpose(1, 2))

    torch.manual_seed(2)
    net, x = Gru().double(), torch.randn(1, 1, 48, dtype=torch.float64)
    curve = oc.error_curve(net, x, block=12, below=1e-6)
    assert curve.whole
    assert curve.obstacles[0].op == "aten::gru"
    for point in curve.points:
        with torch.no_grad():
            apart = (by_hand(net, x, 12, *point.tile["L"]) - net(x)).abs()
        assert point.largest == pytest.approx(float(apart.max()), abs=1e-14)
    assert curve.points[-1].largest == 0
    assert 0 < curve.enough.tile["L"].before < 36  # it forgets


def test_where_the_net_does_not_run():
    class Picky(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if x.shape[-1] < 18:  # a block of 16 at a border of the image, with 2 more
                raise ValueError("at least 18 samples")
            return nn.functional.avg_pool1d(x, 9, 1, 4)

    curve = oc.error_curve(Picky(), (1, 1, 64), block=16)
    assert [p.failure == "" for p in curve.points] == [m >= 2 for m in range(5)]
    assert "at least 18 samples" in curve.points[0].failure
    assert curve.points[0].largest == float("inf")
    assert curve.points[0].to_dict()["outputs"] == {}


def test_a_net_that_runs_at_one_size_only():
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.avg_pool1d(x + x.new_ones(32), 3, 1, 1)

    with pytest.raises(oc.WrongTileError, match=r"on no tile shorter than the exact one: the net fails on a tile"):
        oc.error_curve(Fixed(), (1, 1, 32), block=8)


def test_several_inputs_and_outputs_and_labels():
    class Both(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            near = nn.functional.avg_pool1d(x, 3, 1, 1) + nn.functional.avg_pool1d(y, 5, 1, 2)
            return near, (near > 0.6).long()

    x, y = torch.rand(1, 1, 32, dtype=torch.float64), torch.rand(1, 1, 32, dtype=torch.float64)
    curve = oc.error_curve(Both(), [x, y], block=8)
    assert list(curve.points[0].errors) == ["output0", "output1"]
    assert curve.points[0].errors["output1"].largest in (0, 1)
    assert curve.points[0].largest == max(e.largest for e in curve.points[0].errors.values())
    assert curve.drawn == ()
    assert oc.error_curve(Both(), [x, (1, 1, 32)], block=8).drawn == ("y",)


def test_enough_asks_all_longer_tiles():
    def point(n: int, largest: float) -> ErrorPoint:
        error = SeamError(largest=largest, rms=largest, extent=1.0, differing=float(largest > 0))
        return ErrorPoint({"L": oc.Sides(n, n)}, oc.analysis.named.Named({"output": error}))

    def curve(*errors: float) -> ErrorCurve:
        points = tuple(point(n, e) for n, e in enumerate(errors))
        return ErrorCurve(points, 0.2, {"L": 8}, 4, oc.analysis.named.Named({}), (), "cpu", False, (), {}, 0.0, {})

    assert curve(0.5, 0.1, 0.3, 0.1, 0.0).enough.tile["L"] == oc.Sides(3, 3)
    assert curve(0.1, 0.0).enough.tile["L"] == oc.Sides(0, 0)
    assert curve(0.5, float("nan"), 0.3).enough is None
    assert not curve(0.1, 0.05).consistent


def test_a_tile_that_is_called_exact_and_is_not_is_seen(monkeypatch):
    monkeypatch.setattr(ShorterTiles, "exact", {"L": (1, 1)})
    curve = oc.error_curve(nn.Conv1d(1, 1, 5, padding=2), (1, 1, 32), block=8)
    assert not curve.consistent
    assert curve.points[-1].tile["L"] == oc.Sides(1, 1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: oc.error_curve(nn.Conv1d(1, 1, 3), (1, 1, 32), block=64), "one block takes the whole image"),
        (lambda: oc.error_curve(nn.Conv1d(1, 1, 3), (1, 1, 32), below=0), "expected a number above 0"),
        (lambda: oc.error_curve(nn.Conv1d(1, 1, 3), torch.full((1, 1, 32), torch.nan)), "NaN or infinity"),
    ],
)
def test_refusals(call: Callable[[], object], words: str):
    with pytest.raises(oc.InputError, match=words):
        call()


@pytest.mark.parametrize("last", [nn.Upsample(size=48), nn.AdaptiveAvgPool1d(1)])
def test_no_blocks_because_of_an_obstacle(last):
    with pytest.raises(oc.ObstacleError, match="1"):
        oc.error_curve(nn.Sequential(nn.Conv1d(1, 1, 3, padding=1), last), (1, 1, 32), block=8)


def test_an_axis_that_is_not_cut_is_not_listed():
    calls: list[int] = []
    net = nn.Conv2d(1, 1, 5, padding=2)
    curve = oc.error_curve(net, (1, 1, 12, 24), block={"W": 8}, after=lambda: calls.append(1))
    assert [dict(p.tile) for p in curve.points] == [{"W": oc.Sides(m, m)} for m in range(3)]
    assert (curve.block, curve.count, len(calls), curve.consistent) == ({"W": 8}, 3, 3, True)
