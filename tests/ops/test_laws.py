"""Every law and trap of the mathematics, each as a test that fails without it."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from shared.agreement import same_on
from shared.nets import healthy
from shared.oracle import Dependency
from shared.thorough import few
from torch import nn

import overlapcalc as oc


def axis_of(net: nn.Module, *shape: int, axis: str = "L") -> oc.AxisAnalysis:
    return oc.analyze(net, shape)[axis]


def check_tiles(net: nn.Module, n: int, blocks: list[tuple[int, int]] | None = None, channels: int = 1) -> None:
    """The unmodified net on its tile gives the block; on a tile one step shorter on either side it does not."""
    net = healthy(net, 3)
    x = torch.rand(1, channels, n, dtype=torch.float64)
    y = net(x)
    w = oc.analyze(net, x)["L"]
    if blocks is None:
        count = y.shape[2] // w.out_step
        blocks = [
            (0, w.out_step),
            (count // 2 * w.out_step, (count // 2 + 1) * w.out_step),
            (count * w.out_step - w.out_step, y.shape[2]),
        ]
    for start, stop in blocks:
        tile = w.tile_span(start, stop)
        assert tile.start % w.step == 0
        assert (tile.length - n) % w.step == 0
        assert same_on(net, x, y, 2, tile, start, stop, w), (start, stop, tile)
        for shorter in ((tile.start + w.step, tile.stop), (tile.start, tile.stop - w.step)):
            if shorter[1] > shorter[0]:
                assert not same_on(net, x, y, 2, oc.Span(*shorter), start, stop, w), (start, stop, shorter)


class Join(nn.Module):
    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        ys = [b(x) for b in self.branches]
        n = min(y.shape[2] for y in ys)
        return sum(y[:, :, :n] for y in ys[1:]) + ys[0][:, :, :n]


class Do(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def test_law_1_the_grid_comes_from_every_node():
    """A 9-tap branch hides the phases of a strided one in its hull; the step is 2 all the same."""
    net = Join(nn.Conv1d(1, 1, 9, padding=4), nn.Sequential(nn.Conv1d(1, 1, 1, 2), nn.Upsample(scale_factor=2)))
    w = axis_of(net, 1, 1, 64)
    assert {w.reads(o, o + 1) for o in (20,)} == {oc.Span(16, 25)}
    assert {w.reads(o, o + 1) for o in (21,)} == {oc.Span(17, 26)}  # the hull alone has period 1
    assert (w.step, w.out_step) == (2, 2)
    check_tiles(net, 64)
    with pytest.raises(oc.InputError, match="grid"):
        w.tile_span(21, 23)


def test_law_2_union_not_max():
    causal, anti = Do(lambda x: F.pad(x, (4, 0))), Do(lambda x: F.pad(x, (0, 4)))
    net = Join(nn.Sequential(causal, nn.Conv1d(1, 1, 5)), nn.Sequential(anti, nn.Conv1d(1, 1, 5)))
    assert axis_of(net, 1, 1, 40).receptive_field == (9, 9)


def test_law_3_reading_is_not_existing():
    w = axis_of(nn.ConvTranspose1d(1, 1, 1, 2), 1, 1, 30)
    assert tuple(w.context) == (0, 0)
    assert tuple(w.tile) == (0, 1)
    assert w.reads(3, 4) is None
    crop = axis_of(Do(lambda x: x[..., 3:-3]), 1, 1, 30)
    assert tuple(crop.context) == (-3, 3)
    assert tuple(crop.tile) == (0, 6)
    check_tiles(nn.ConvTranspose1d(1, 1, 1, 2), 30, [(20, 24)])
    check_tiles(Do(lambda x: x[..., 3:-3]), 30, [(10, 14)])


class OddUNet(nn.Module):
    """A U-Net whose transposed convolution has no output_padding, its skip cut by a centred pad."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up, self.out = (
            nn.Conv1d(1, 2, 3, 2, 1),
            nn.ConvTranspose1d(2, 2, 3, 2, 1),
            nn.Conv1d(3, 1, 3, padding=1),
        )

    def forward(self, x):
        u = self.up(self.down(x))
        q = x.shape[2] - u.shape[2]
        return self.out(torch.cat([F.pad(u, (q // 2, q - q // 2)), x], 1))


class TensorflowSame(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.conv2 = nn.Conv1d(1, 2, 3, 2), nn.Conv1d(2, 1, 5, 2)

    @staticmethod
    def same(x, k, s):
        total = max(0, (-(-x.shape[2] // s) - 1) * s + k - x.shape[2])
        return F.pad(x, (total // 2, total - total // 2))

    def forward(self, x):
        return self.conv2(self.same(self.conv(self.same(x, 3, 2)), 5, 2))


@pytest.mark.parametrize("n", few([128, 129, 130, 131], [128, 131]))
@pytest.mark.parametrize("net", [OddUNet, TensorflowSame])
def test_law_4_sizes_modulo_the_step(net, n):
    check_tiles(net(), n)


def test_law_4_tiles_of_whole_steps_are_wrong():
    """Without the residue of the image, the tile computes its padding differently."""
    net = healthy(TensorflowSame(), 0)
    x = torch.rand(1, 1, 130, dtype=torch.float64)
    y, w = net(x), oc.analyze(net, x)["L"]
    assert w.step == 4
    tile = w.tile_span(10, 14)
    assert tile.length % 4 == 130 % 4
    whole_steps = oc.Span(tile.start, tile.start + -(-tile.length // 4) * 4)
    assert whole_steps.length > tile.length
    assert not same_on(net, x, y, 2, whole_steps, 10, 14, w)


class PadTo8(nn.Module):
    def forward(self, x):
        return F.pad(x, (0, -x.shape[-1] % 8), mode="reflect")


def test_law_5_borders():
    w = axis_of(PadTo8(), 1, 1, 81)
    assert tuple(w.context) == (0, 0)
    assert w.reads(80, 88, size=81) == oc.Span(73, 81)
    assert w.reads(80, 88) == oc.Span(80, 88)
    assert w.reads(81, 88, size=84) == oc.Span(79, 84)
    assert w.step == 8  # the padding means the same every 8 samples only
    x = torch.rand(1, 1, 81, dtype=torch.float64)
    assert Dependency(PadTo8(), x, 2).hull(80, 88) == (73, 81)
    check_tiles(PadTo8(), 81, [(80, 88), (40, 48)])


def test_law_6_taps_not_hulls():
    net = nn.Sequential(nn.ConvTranspose1d(1, 1, 1, 2), nn.Conv1d(1, 1, 3, 2, 3, dilation=3))
    w = axis_of(net, 1, 1, 30)
    assert w.reads(10, 11) == oc.Span(10, 11)  # the hull of the taps says [9, 12)
    assert Dependency(healthy(net, 0), torch.rand(1, 1, 30, dtype=torch.float64), 2).hull(10, 11) == (10, 11)
    dilated = nn.ConvTranspose1d(1, 1, 3, 2, dilation=3)  # not monotone
    truth, w = Dependency(healthy(dilated, 0), torch.rand(1, 1, 30, dtype=torch.float64), 2), axis_of(dilated, 1, 1, 30)
    for o in range(20, 30):
        assert w.reads(o, o + 1) == oc.Span(*truth.hull(o, o + 1))


class TwoWidths(nn.Module):
    def __init__(self, then) -> None:
        super().__init__()
        self.wide, self.narrow, self.then = nn.Conv2d(2, 4, 9, padding=4), nn.Conv2d(2, 4, 1), then

    def forward(self, x):
        return self.then(torch.cat([self.wide(x), self.narrow(x)], 1))


GROUPED = nn.Conv2d(8, 2, 1, groups=2).double()


@pytest.mark.parametrize(
    ("name", "then", "field"),
    few(
        [
            ("chunk, second", lambda t: t.chunk(2, 1)[1], 1),
            ("chunk, first", lambda t: t.chunk(2, 1)[0], 9),
            ("split", lambda t: t.split([3, 1, 4], 1)[2], 1),
            ("split, straddling", lambda t: t.split([3, 5], 1)[1], 9),
            ("slice", lambda t: t[:, 4:], 1),
            ("strided slice", lambda t: t[:, 5::2], 1),
            ("grouped conv, then second", lambda t: GROUPED(t)[:, 1:], 1),
            ("channel shuffle, then odd", lambda t: t.unflatten(1, (2, 4)).transpose(1, 2).flatten(1, 2)[:, 1::2], 1),
            ("native channel shuffle", lambda t: F.channel_shuffle(t, 2)[:, 1::2], 1),
            ("pixel shuffle of both", lambda t: F.pixel_shuffle(t, 2), 9),
            ("pixel shuffle of narrow", lambda t: F.pixel_shuffle(t, 2)[:, 1:], 1),
            ("flip of channels", lambda t: t.flip(1)[:, :4], 1),
            ("roll of channels", lambda t: t.roll(4, 1)[:, :4], 1),
            ("index", lambda t: t[:, [4, 6, 7]], 1),
            ("index_select", lambda t: t.index_select(1, torch.tensor([5, 4])), 1),
            ("unbind", lambda t: t.unbind(1)[7].unsqueeze(1), 1),
            ("glu", lambda t: F.glu(t[:, 4:], 1), 1),
            ("stack, then pick", lambda t: torch.stack([t[:, :4], t[:, 4:]])[1], 1),
            ("written channels", lambda t: torch.cat([t[:, 4:] * 1, t[:, :4]], 1)[:, :4], 1),
            ("softmax mixes", lambda t: t.softmax(1)[:, 4:], 9),
            ("sum mixes", lambda t: t[:, 4:] + t.sum(1, keepdim=True), 9),
            ("a view within the group", lambda t: t.reshape(-1, 2, 2, 2, *t.shape[2:])[:, 1].flatten(1, 2), 1),
        ],
        11,
    ),
)
def test_law_7_channels(name, then, field):
    net = healthy(TwoWidths(then), 0)
    x = torch.rand(1, 2, 21, 10, dtype=torch.float64)
    w = oc.analyze(net, x)["H"]
    assert w.receptive_field == (field, field), name
    assert w.exact
    truth = Dependency(net, x, 2)
    o = truth.out_size // 2
    assert w.reads(o, o + 1) == oc.Span(*truth.hull(o, o + 1))


def test_law_7_grouped_after_cat():
    net = healthy(TwoWidths(nn.Conv2d(8, 8, 3, padding=1, groups=2)), 0)
    assert oc.analyze(net, (1, 2, 30, 30))["W"].receptive_field == (11, 11)
    second = nn.Sequential(net, Do(lambda t: t[:, 4:]))
    assert oc.analyze(second, (1, 2, 30, 30))["W"].receptive_field == (3, 3)


class UnevenMask(nn.Module):
    """Every channel pair masks other taps: only an upper bound is known."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 1, 5))
        self.register_buffer("mask", torch.tensor([[[1.0, 1, 1, 0, 0]], [[0, 0, 1, 1, 1]]]))

    def forward(self, x):
        return F.conv1d(x, self.weight * self.mask, padding=2)[:, :1]


def test_law_8_says_when_it_is_a_bound():
    w = axis_of(UnevenMask(), 1, 1, 30)
    assert not w.exact
    assert w.reads(10, 11) == oc.Span(8, 13)  # truly [8, 11): the bound says more, never less
    assert axis_of(nn.Conv1d(1, 2, 5, padding=2), 1, 1, 30).exact


def test_law_9_phases():
    net = nn.Sequential(nn.ConvTranspose1d(1, 1, 5, 2, 2, output_padding=1), nn.Conv1d(1, 1, 3, padding=1))
    w = axis_of(net, 1, 1, 40)
    truth = Dependency(healthy(net, 0), torch.rand(1, 1, 40, dtype=torch.float64), 2)
    lengths = {truth.hull(o, o + 1)[1] - truth.hull(o, o + 1)[0] for o in range(30, 50)}
    assert w.receptive_field == (min(lengths), max(lengths))
    assert len(lengths) == 2


def test_law_10_asymmetry():
    encoder = nn.Sequential(*[nn.Conv1d(1, 1, 5, 2, 2) for _ in range(4)])
    decoder = nn.Sequential(*[nn.ConvTranspose1d(1, 1, 5, 2, 2, 1) for _ in range(4)])
    assert tuple(axis_of(encoder, 1, 1, 256).context) == (30, 15)
    assert tuple(axis_of(decoder, 1, 1, 16).context) == (1, 2)


class TimesWidth(nn.Module):
    def forward(self, x):
        return x * x.shape[-1]


class Threshold(nn.Module):
    """A local net at every size, but another one above 40 samples."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv1d(1, 1, 3, padding=1), nn.Conv1d(1, 1, 5, padding=2)

    def forward(self, x):
        return self.a(x) if x.shape[-1] <= 40 else self.b(x)


@pytest.mark.parametrize(
    ("net", "cause"),
    [
        (nn.Upsample(size=50, mode="linear"), "size-dependent"),
        (nn.Upsample(scale_factor=2, mode="linear", align_corners=True), "align-corners"),
        (nn.AdaptiveAvgPool1d(8), "adaptive-pooling"),
        (TimesWidth(), "size-dependent"),
        (Threshold(), "size-dependent"),
        (Do(lambda x: x + torch.linspace(0, 1, x.shape[-1])), "absolute-position"),
        (Do(lambda x: x[..., -5:]), "size-dependent"),
        (Do(lambda x: x[..., :30]), "size-dependent"),
        (Do(lambda x: F.avg_pool1d(x, x.shape[-1]) * x), "size-dependent"),
    ],
)
def test_law_11_size_dependence(net, cause):
    a = oc.analyze(net, (1, 1, 40))
    assert not a.blocking_free
    assert cause in {o.cause for o in a.obstacles}


def test_law_11_resampling_to_a_size_that_follows_is_fine():
    net = Do(lambda x: F.interpolate(F.avg_pool1d(x, 2), size=x.shape[-1]))
    w = axis_of(net, 1, 1, 40)
    assert (w.scale, w.step) == (Fraction(1), 2)


class OneSize(nn.Module):
    def forward(self, x):
        assert x.shape[-1] == 40
        return F.interpolate(x, size=80)


def test_law_11_size_not_verified():
    """Where no other size runs, a factor taken from sizes is refused, and the rest says that it is not verified."""
    a = oc.analyze(OneSize(), (1, 1, 40))
    assert not a.size_verified
    assert [o.cause for o in a.obstacles] == ["resize-to-size"]


@pytest.mark.thorough
def test_law_11_size_not_verified_of_a_local_net():
    class Local(nn.Module):
        def forward(self, x):
            assert x.shape[-1] == 40
            return F.avg_pool1d(x, 3, 1, 1)

    a = oc.analyze(Local(), (1, 1, 40))
    assert not a.size_verified
    assert a.blocking_free


class MaskedA(nn.Conv2d):
    """PixelCNN mask A, in three spellings."""

    spelling = "product"

    def __init__(self) -> None:
        super().__init__(1, 2, 5, padding=2)
        mask = torch.ones(5, 5)
        mask[2, 2:] = 0
        mask[3:] = 0
        self.register_buffer("mask", mask)

    def forward(self, x):
        if self.spelling == "product":
            return F.conv2d(x, self.weight * self.mask, self.bias, padding=2)
        if self.spelling == "data *=":
            self.weight.data *= self.mask
        elif self.spelling == "data =":
            self.weight.data = self.weight.data * self.mask
        else:
            with torch.no_grad():
                self.weight.mul_(self.mask)
        return super().forward(x)


@pytest.mark.parametrize("spelling", ["product", "data *=", "data =", "in place"])
def test_law_12_masks(spelling):
    net = MaskedA()
    net.spelling = spelling
    weight = net.weight.detach().clone()
    a = oc.analyze(net, (1, 1, 24, 24))
    assert tuple(a["H"].context) == (2, 0)
    assert tuple(a["W"].context) == (2, 2)
    assert isinstance(net.weight, nn.Parameter)
    assert torch.equal(net.weight, weight)  # the user's model is never touched
    assert net.training


def test_law_12_trained_zeros_do_not_count():
    net = nn.Conv1d(1, 1, 5, padding=2)
    with torch.no_grad():
        net.weight.zero_()
    assert axis_of(net, 1, 1, 20).receptive_field == (5, 5)
    half = Do(lambda x: x)
    half.weight = nn.Parameter(torch.zeros(1, 1, 5))
    half.function = lambda x: F.conv1d(x, torch.relu(half.weight) * 1.0, padding=2)
    assert axis_of(half, 1, 1, 20).receptive_field == (5, 5)


def test_law_12_fixed_filters_are_structure():
    net = Do(lambda x: x)
    net.register_buffer("sobel", torch.tensor([[[-1.0, 0.0, 1.0]]]))
    net.function = lambda x: F.conv1d(x, net.sobel)
    w = axis_of(net, 1, 1, 20)
    assert w.reads(4, 5) == oc.Span(4, 7)
    assert w.exact


class Checkerboard(nn.Module):
    def forward(self, x):
        place = torch.arange(x.shape[-1])
        return x * (1 + place % 3)


class Masked3(nn.Module):
    def forward(self, x):
        return x * (torch.arange(x.shape[-1]) % 3 == 0)


def test_periodic_constants_widen_the_step():
    w = axis_of(Checkerboard(), 1, 1, 30)
    assert (w.step, w.out_step) == (3, 3)
    check_tiles(nn.Sequential(Checkerboard(), nn.Conv1d(1, 1, 3, padding=1)), 31)


def test_samples_multiplied_by_a_constant_zero_are_not_read():
    net = nn.Sequential(Masked3(), nn.Conv1d(1, 1, 3, padding=1))
    w = axis_of(net, 1, 1, 30)
    assert (w.step, w.exact) == (3, True)
    truth = Dependency(healthy(net, 0), torch.rand(1, 1, 30, dtype=torch.float64), 2, zero_taps=True)
    for o in range(9, 15):
        assert tuple(w.reads(o, o + 1)) == truth.hull(o, o + 1)


def test_a_mask_that_is_no_product_is_a_bound():
    class Diagonal(nn.Module):
        def forward(self, x):
            h, w = (torch.arange(n) for n in x.shape[-2:])
            return x * ((h[:, None] + w) % 2 == 0)

    w = oc.analyze(nn.Sequential(Diagonal(), nn.Conv2d(1, 1, 3, padding=1)), (1, 1, 12, 12))["W"]
    assert w.step == 2
    assert not w.exact


def test_rows_that_read_nothing_beside_an_obstacle():
    """Every row left is bias alone, so no column is read either; behind the mean over rows that is not seen, and the
    reads along columns are called a bound."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.ConvTranspose2d(1, 1, 1, 2)

        def forward(self, x):
            return self.up(x + x.mean(2, keepdim=True))[:, :, 1::2]

    assert not oc.analyze(Net(), (1, 1, 8, 8))["W"].exact
