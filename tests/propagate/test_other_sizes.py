"""Nets that mean something else at other sizes: everything is compared, far away, and each axis for itself."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from shared.blockwise import Fn, net, never_wrong
from shared.thorough import few
from torch import Tensor, nn

import overlapcalc as oc


def channels_by_rows(x: Tensor) -> Tensor:
    return x[:, :1].expand(-1, x.shape[2], -1, -1).sum(1, keepdim=True)


def octaves(x: Tensor) -> Tensor:
    f = 2.0 ** torch.arange(int(math.log2(x.shape[3])), dtype=x.dtype)
    return torch.cat([x, torch.sin(x[:, :1] * f[None, :, None, None]).mean(1, keepdim=True)], 1)


def first_channels(x: Tensor) -> Tensor:
    y = x.repeat(1, 8, 1, 1) * torch.arange(24, dtype=x.dtype)[:, None, None]
    return y[:, : x.shape[3] // 2].mean(1, keepdim=True)


def moved_channels(x: Tensor) -> Tensor:
    """As many channels at every size, but others."""
    y = x.repeat(1, 24, 1, 1) * torch.arange(72, dtype=x.dtype)[:, None, None]
    return y[:, x.shape[3] // 2 : x.shape[3] // 2 + 3]


def listed_channels(x: Tensor) -> Tensor:
    return x.repeat(1, 24, 1, 1)[:, torch.arange(x.shape[3] // 2)].sum(1, keepdim=True)


def split_by_rows(x: Tensor) -> Tensor:
    return x.repeat(1, 24, 1, 1).split(x.shape[2], 1)[0].sum(1, keepdim=True)


def padded_channels(x: Tensor) -> Tensor:
    return F.pad(x, (0, 0, 0, 0, 0, x.shape[3] // 4), value=1.0).mean(1, keepdim=True)


def groups_by_columns(x: Tensor) -> Tensor:
    y = x.repeat(1, x.shape[3], 1, 1)
    return y.unflatten(1, (x.shape[3], 3)).amax(2).sum(1, keepdim=True)


def cropped_tenth(x: Tensor) -> Tensor:
    return x[:, :, int(x.shape[2] * 0.1) :]


def kernel_by_steps(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, (1, 2 * (x.shape[3] // 16) + 1), 1, (0, x.shape[3] // 16))


def factor_by_steps(x: Tensor) -> Tensor:
    return x * (x.shape[3] // 16)


def smaller_side(x: Tensor) -> Tensor:
    return x * min(x.shape[2], x.shape[3])


def row_over_width(x: Tensor) -> Tensor:
    return x + torch.arange(x.shape[2], dtype=x.dtype)[:, None] / x.shape[3]


def row(x: Tensor) -> Tensor:
    return x + torch.arange(x.shape[2], dtype=x.dtype)[:, None]


def place_between_ends(x: Tensor) -> Tensor:
    return x + torch.linspace(-1, 1, x.shape[2], dtype=x.dtype)[:, None]


def rows_padded_by_width(x: Tensor) -> Tensor:
    return F.pad(x, (0, 0, x.shape[3] // 4, 0))


FREE = {
    "channels by rows": (channels_by_rows, (1, 3, 20, 20), "W"),
    "octaves": (octaves, (1, 3, 20, 20), "H"),
    "first channels": (first_channels, (1, 3, 20, 20), "H"),
    "moved channels": (moved_channels, (1, 3, 20, 20), "H"),
    "listed channels": (listed_channels, (1, 3, 20, 20), "H"),
    "split by rows": (split_by_rows, (1, 3, 20, 18), "W"),
    "padded channels": (padded_channels, (1, 3, 20, 20), "H"),
    "groups by columns": (groups_by_columns, (1, 3, 10, 12), "H"),
    "a tenth is cropped": (cropped_tenth, (1, 3, 64, 12), "W"),
    "kernel by steps": (kernel_by_steps, (1, 3, 12, 64), "H"),
    "factor by steps": (factor_by_steps, (1, 3, 12, 33), "H"),
    "smaller side": (smaller_side, (1, 3, 16, 24), ""),
    "smaller side of a square": (smaller_side, (1, 3, 16, 16), ""),
    "row over width": (row_over_width, (1, 3, 16, 12), ""),
    "row": (row, (1, 3, 16, 12), "W"),
    "place between ends": (place_between_ends, (1, 3, 16, 12), "W"),
    "rows padded by width": (rows_padded_by_width, (1, 3, 16, 12), "H"),
}
"""Each net with the axes along which it is the same net everywhere, by how it is written."""


@pytest.mark.parametrize("name", few(FREE, list(FREE)[::2]))
def test_free_axes_run_right_and_the_others_are_refused(name):
    function, shape, axes = FREE[name]
    assert never_wrong(net(function), shape) == axes


def test_a_difference_counts_where_what_is_made_of_it_meets_the_axis():
    """The node that differs has no axis at all; what it is added to has."""

    def gained(m: nn.Module, x: Tensor, gain: Tensor) -> Tensor:
        return x + gain.repeat(1, x.shape[3] // 4, 1, 1).sum(1, keepdim=True)

    found = oc.analyze(Fn(gained), [(1, 3, 16, 16), (1, 3, 1, 1)])
    assert {(o.axis, o.cause, o.op) for o in found.obstacles} == {("W", "size-dependent", "aten::add")}


@pytest.mark.parametrize(("columns", "free"), [(19, "H"), (9, "HW"), (21, "HW")])
def test_a_net_that_gives_its_input_back_only_when_that_is_small(columns, free):
    """From 20 columns on it filters. Tiles of 9 are all smaller, and 21 has only itself as a tile along W."""

    def filtered(m: nn.Module, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 3, 1, 1) if x.shape[3] >= 20 else x

    assert never_wrong(Fn(filtered), (1, 3, 12, columns)) == free


class There(nn.Module):
    """A pyramid: to a fraction of the size, rounded, and back."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by, self.conv = by, nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        y = F.interpolate(x, size=(int(h / self.by), int(w / self.by)), mode="bilinear")
        return F.interpolate(self.conv(y), size=(h, w), mode="bilinear")


@pytest.mark.parametrize(("size", "free"), [(64, ""), (128, ""), (192, "HW"), (66, "HW")])
def test_a_size_that_is_divided_and_rounded(size, free):
    """64 / 1.2 leaves a rest, so 53/64 is the factor at 64 alone; 66 and 192 are multiples of 6, and then it is 5/6."""
    found = oc.analyze(There(1.2), (1, 1, size, size))
    assert "".join(a for a in found.axes if not any(o.axis == a for o in found.obstacles)) == free
    if free:
        assert found.grid["H"].step["x"] == 6


class Deep(nn.Module):
    """Another net beyond 100 rows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.conv(x) if x.shape[2] > 100 else x)


@pytest.mark.parametrize(("size", "context"), [(64, 1), (90, 1), (120, 2)])
def test_what_happens_beyond_the_image_does_not_count(size, context):
    """Tiles are no larger than it: at half the size the net is the same."""
    found = oc.analyze(Deep(), (1, 1, size, 24))
    assert found.blocking_free
    assert found["H"].context.before == context


class Padded(nn.Module):
    """To a multiple of 8 along H alone."""

    def forward(self, x: Tensor) -> Tensor:
        h = x.shape[2]
        return F.avg_pool2d(F.pad(x, (0, 0, 0, -h % 8)), 3, 1, 1)[:, :, :h]


@pytest.mark.parametrize("rows", [24, 25])
def test_a_coarser_grid_is_one_of_the_axis_that_needs_it(rows):
    found = oc.analyze(Padded(), (1, 1, rows, 20))
    assert found.blocking_free
    assert (found.grid["H"].step["x"], found.grid["W"].step["x"]) == (8, 1)


def test_reflection_along_channels_is_read():
    """The padded channel mirrors one that a convolution of 9 taps made: 4 before, 4 after."""

    def mirrored(m: nn.Module, x: Tensor) -> Tensor:
        y = m.conv(x.permute(0, 2, 1)).permute(0, 2, 1)
        return F.pad(torch.cat([x[..., :1], y], -1), (1, 0), mode="reflect")[..., :1]

    found = oc.analyze(Fn(mirrored, conv=nn.Conv1d(3, 3, 9, padding=4)), (1, 24, 3), layout="NLC")
    assert (found["L"].context.before, found["L"].context.after) == (4, 4)


def nothing_rolled(x: Tensor) -> Tensor:
    return torch.cat([x[:, :0].roll(1, 1), x[:, :0].flip(1), x, x.repeat(1, 0, 1, 1)], 1)


def nothing_selected(x: Tensor) -> Tensor:
    return torch.cat([x.index_select(1, torch.zeros(0, dtype=torch.long)), x], 1)


@pytest.mark.parametrize("function", [nothing_rolled, nothing_selected])
def test_dimensions_without_samples(function):
    assert never_wrong(net(function), (1, 3, 12, 11)) == "HW"


def test_what_nobody_foresaw_is_one_error_that_names_the_operator():
    def broken(call):
        raise IndexError("no such phase")

    from overlapcalc.ops.registry import kept

    with kept():
        oc.unregister("aten::pixel_shuffle")
        oc.rule("aten::pixel_shuffle")(broken)
        with pytest.raises(oc.UnforeseenError, match=r"^1: aten::pixel_shuffle .*no such phase"):
            oc.analyze(nn.Sequential(nn.Conv2d(1, 4, 1), nn.PixelShuffle(2)), (1, 1, 8, 8))


def test_a_net_that_fails_on_a_tile_is_one_error():
    def fixed(m: nn.Module, x: Tensor) -> Tensor:
        return x.slice_scatter(torch.zeros(1, 0, 16, 16, dtype=x.dtype), 1, 0, 0)

    with pytest.raises(oc.OverlapcalcError, match="fails on a tile"):
        oc.run(Fn(fixed), torch.randn(1, 3, 16, 16), block=5, schedule="crop")


def stacked(x: Tensor) -> Tensor:
    return torch.stack([x * k for k in range(x.shape[2] // 4)]).sum(0)


def masked_by_rows(x: Tensor) -> Tensor:
    """Attention over rows, with a mask of W x H x H."""
    t = x[0].permute(2, 1, 0)
    mask = torch.full((x.shape[3], x.shape[2], x.shape[2]), float(x.shape[2]), dtype=x.dtype)
    return F.scaled_dot_product_attention(t, t, t, attn_mask=mask).permute(2, 1, 0)[None]


@pytest.mark.parametrize("function", [stacked, masked_by_rows])
def test_no_period_is_looked_for_where_that_would_take_too_much(function):
    """A loop over every fourth row, and constants that grow faster than the image."""
    assert never_wrong(net(function), (1, 2, 20, 19)) == "W"
