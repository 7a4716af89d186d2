"""The exact twin: tiles and whole images bit-identical where the mathematics says so, and nowhere else.

Contexts are worked out by hand for each net, and arithmetic is checked against Python integers and torch's own
results on small whole numbers; nothing here asks overlapcalc how much context a net needs.
"""

from __future__ import annotations

import importlib.util
import itertools
import random
from fractions import Fraction
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from shared import families, operators, viewed
from shared.nets import GDN, ChannelsLast, Do, Masked, Net, healthy
from shared.oracle import Dependency
from shared.thorough import few
from torch import nn

from overlapcalc.errors import InputError, NoTwin
from overlapcalc.prove.twin import PRIME, Modular, residues, twin_of

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(twin, x):
    with Modular():
        return twin(x)


def are_residues(y):
    return y.dtype == torch.float64 and bool(((y >= 0) & (y < PRIME) & (y == y.floor())).all())


# ---- arithmetic -------------------------------------------------------------------------------------------------


def taps(o, stride, padding, dilation, kernel, size):
    """Positions of a kernel, and the input positions they read."""
    reads = ((t, o * stride - padding + dilation * t) for t in range(kernel))
    return [(t, i) for t, i in reads if 0 <= i < size]


def as_integers(t):
    return t.to(torch.int64).tolist()


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), [(1, 1, 1, 1), (2, 2, 1, 2), (3, 0, 2, 1)])
def test_convolution_against_integers(stride, padding, dilation, groups):
    x, w, b = residues((1, 4, 9, 8), 0), residues((6, 4 // groups, 3, 2), 1), residues((6,), 2)
    with Modular():
        y = F.conv2d(x, w, b, stride, padding, dilation, groups)
    X, W, B = as_integers(x[0]), as_integers(w), as_integers(b)
    for o, r, c in itertools.product(*map(range, y.shape[1:])):
        total = B[o]
        for t, i in taps(r, stride, padding, dilation, 3, 9):
            for u, j in taps(c, stride, padding, dilation, 2, 8):
                for k in range(4 // groups):
                    total += X[o // (6 // groups) * (4 // groups) + k][i][j] * W[o][k][t][u]
        assert int(y[0, o, r, c]) == total % PRIME


@pytest.mark.parametrize(("stride", "padding", "extra", "dilation"), [(2, 2, 1, 1), (1, 0, 0, 2), (3, 1, 2, 1)])
def test_transposed_convolution_against_integers(stride, padding, extra, dilation):
    x, w, b = residues((1, 3, 7), 0), residues((3, 2, 5), 1), residues((2,), 2)
    with Modular():
        y = F.conv_transpose1d(x, w, b, stride, padding, extra, 1, dilation)
    X, W, B = as_integers(x[0]), as_integers(w), as_integers(b)
    for o, p in itertools.product(range(2), range(y.shape[2])):
        pairs = ((i, t) for i in range(7) for t in range(5) if i * stride - padding + dilation * t == p)
        assert int(y[0, o, p]) == (B[o] + sum(X[k][i] * W[k][o][t] for i, t in pairs for k in range(3))) % PRIME


def test_products_against_integers():
    a, b, c = residues((3, 5), 0), residues((5, 4), 1), residues((3, 4), 2)
    with Modular():
        y = torch.addmm(c, a, b, beta=2, alpha=-3)
        z = torch.einsum("ij,jk->ki", a, b)
    A, B, C = as_integers(a), as_integers(b), as_integers(c)
    for i, k in itertools.product(range(3), range(4)):
        inner = sum(A[i][j] * B[j][k] for j in range(5))
        assert int(y[i, k]) == (2 * C[i][k] - 3 * inner) % PRIME
        assert int(z[k, i]) == inner % PRIME


def test_sums_and_products_of_samples():
    x, y = residues((50,), 0), residues((50,), 1)
    with Modular():
        z = (2 - x * 3) * y - torch.sub(x, y, alpha=-1) / 4 + 0.5 * y.sum() - x.mean()
        w = torch.addcmul(x, x, y, value=-2).neg()
    X, Y = as_integers(x), as_integers(y)
    half, quarter = 2**19, pow(4, -1, PRIME)
    for i, (a, b) in enumerate(zip(X, Y, strict=True)):
        mean = sum(X) * pow(50, -1, PRIME)
        assert int(z[i]) == ((2 - 3 * a) * b - (a + b) * quarter + half * sum(Y) - mean) % PRIME
        assert int(w[i]) == -(a - 2 * a * b) % PRIME


def exact(y, denominator):
    """Torch's float64 result on small whole numbers, as residues of the fractions that it stands for."""
    found = []
    for v in y.flatten().tolist():
        f = Fraction(round(v * denominator), denominator)
        assert abs(v - f) < 1e-9
        found.append(f.numerator * pow(f.denominator, -1, PRIME) % PRIME)
    return torch.tensor(found, dtype=torch.float64).reshape(y.shape)


def small(*shape):
    return torch.randint(0, 10, shape, generator=torch.Generator().manual_seed(3)).double()


def agrees(function, x, denominator):
    with Modular():
        y = function(x)
    assert torch.equal(y, exact(function(x), denominator))


POOLS = [
    (k, s, p, ceil, include)
    for k, s in ((2, 2), (3, 2), (3, 1), (4, 3), (2, 3))
    for p in range(k // 2 + 1)
    for ceil in (False, True)
    for include in (False, True)
]


@pytest.mark.parametrize(("k", "s", "p", "ceil", "include"), POOLS)
def test_average_pooling_is_torchs(k, s, p, ceil, include):
    common = 144 * 25  # every divisor is a product of two numbers up to 4, at worst cut by a border
    for size in (9, 10, 11):
        agrees(lambda x: F.avg_pool2d(x, k, s, p, ceil, include), small(1, 2, size, size - 1), common)
        agrees(lambda x: F.avg_pool1d(x, k, s, p, ceil, include), small(1, 2, size), common)
    agrees(lambda x: F.avg_pool3d(x, (k, 1, 2), (s, 1, 1), (p, 0, 1), ceil, include), small(1, 1, 7, 3, 4), common)


def test_divisors_of_ones_own():
    agrees(lambda x: F.avg_pool2d(x, 3, 2, 1, divisor_override=7), small(1, 2, 9, 8), 7)
    for sizes in (1, 3, (4, 5), (9, 20)):
        agrees(lambda x, sizes=sizes: F.adaptive_avg_pool2d(x, sizes), small(1, 2, 10, 9), 2520 * 6)
    agrees(lambda x: F.interpolate(x, scale_factor=0.4, mode="area"), small(1, 2, 10, 9), 2520 * 6)
    agrees(lambda x: x.mean((2, 3), keepdim=True), small(1, 2, 10, 9), 90)


RESAMPLINGS = [
    *(("bilinear", {"scale_factor": s}) for s in (2, 3, 0.5, 1.5, 0.75, 1.25, 1.9, 1.3333334, 2**0.5)),
    *(("bicubic", {"scale_factor": s}) for s in (2, 3, 0.5, 2.000001)),
    *(("bilinear", {"scale_factor": s, "antialias": True}) for s in (1 / 3, 0.5, 0.6, 2 / 3, 20 / 9)),
    *(("bicubic", {"scale_factor": s, "antialias": True}) for s in (1 / 3, 0.5, 2 / 3, 20 / 9)),
    ("bilinear", {"size": (13, 7), "align_corners": True}),
    ("bicubic", {"size": (13, 7), "align_corners": True}),
    ("bilinear", {"size": (5, 20)}),
    ("bilinear", {"size": (5, 20), "antialias": True}),
    ("bilinear", {"scale_factor": 1.9, "recompute_scale_factor": True}),
]


def weights_of_rows(mode, kwargs, size):
    """[outputs, size], read off torch's own answer to single samples, which stand in the columns of one image."""
    factor, sizes = kwargs.get("scale_factor"), kwargs.get("size")
    along = {"scale_factor": (factor, 1.0)} if factor else {"size": (sizes[0], size)}
    return F.interpolate(torch.eye(size).double()[None, None], mode=mode, **{**kwargs, **along})[0, 0]


def scaled(weight):
    """Whole numbers are themselves, others times 2^20; what float64 rounds is neither."""
    return round(weight) if abs(weight - round(weight)) < 1e-12 else round(weight * 2**20)


@pytest.mark.parametrize(("mode", "kwargs"), RESAMPLINGS, ids=str)
def test_resampling_is_torchs(mode, kwargs):
    x = small(1, 2, 10, 9)
    with Modular():
        y = F.interpolate(x, mode=mode, **kwargs)
    across = {**kwargs, "size": kwargs["size"][::-1]} if "size" in kwargs else kwargs
    rows, columns = (
        [[scaled(w) for w in row] for row in weights_of_rows(mode, how, size).tolist()]
        for how, size in ((kwargs, 10), (across, 9))
    )
    assert y.shape[2:] == (len(rows), len(columns)) != x.shape[2:]
    for image, found in zip(x[0].int().tolist(), y[0].int().tolist(), strict=True):
        turned = list(zip(*image, strict=True))
        between = [[sum(w * v for w, v in zip(row, line, strict=True)) for line in turned] for row in rows]
        whole = [[sum(w * v for w, v in zip(row, line, strict=True)) % PRIME for row in columns] for line in between]
        assert found == whole


def test_linear_resampling_of_one_and_three_axes():
    x = small(1, 2, 7)
    with Modular():
        one = F.interpolate(x, scale_factor=3, mode="linear")
        three = F.interpolate(x.reshape(1, 1, 1, 2, 7), scale_factor=(2, 1, 3), mode="trilinear")
        two = F.interpolate(x[None], scale_factor=(1, 3), mode="bilinear")
    assert torch.equal(one, two[0])
    assert torch.equal(three[0, 0, 0], two[0, 0])


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_where_types_look_at_other_samples_the_twin_is_of_both(mode):
    """Neither is the right one: a rule that follows either of them is not that of the net."""
    x = residues((1, 1, 64), 1)
    with Modular():
        alike, apart = (F.interpolate(x, scale_factor=s, mode=mode) for s in (4 / 3, 3.7))
    assert torch.equal(alike, F.interpolate(x, scale_factor=4 / 3, mode=mode))
    wide = F.interpolate(x, scale_factor=3.7, mode=mode)
    narrow = F.interpolate(x.float(), scale_factor=3.7, mode=mode).double()
    assert torch.equal(apart == wide, wide == narrow)
    assert not torch.equal(wide, narrow)


# ---- context, by hand -------------------------------------------------------------------------------------------


def seq(*layers):
    return nn.Sequential(*layers)


def masked(*taps):
    return Masked(2, 2, len(taps), torch.tensor(taps, dtype=torch.float32), 1)


class SelfMasked(nn.Conv1d):
    """The common spelling, which writes to the weight on every call."""

    def __init__(self):
        super().__init__(2, 2, 3, padding=1)
        self.register_buffer("mask", torch.tensor([1.0, 1, 0]))

    def forward(self, x):
        self.weight.data *= self.mask
        return super().forward(x)


class Residual(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return x + self.body(x)


class UNet1d(nn.Module):
    """The U-Net of two levels whose context is 11 on each side."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv1d(i, 4, 3, padding=1) for i in (2, 4, 4))
        self.up1, self.up2 = nn.ConvTranspose1d(4, 4, 2, 2), nn.ConvTranspose1d(4, 4, 2, 2)
        self.d, self.e = nn.Conv1d(8, 4, 3, padding=1), nn.Conv1d(8, 2, 3, padding=1)

    def forward(self, x):
        a = F.relu_(self.a(x))
        b = F.relu_(self.b(F.max_pool1d(a, 2)))
        c = F.relu_(self.c(F.max_pool1d(b, 2)))
        d = F.relu_(self.d(torch.cat([self.up1(c), b], 1)))
        return self.e(torch.cat([self.up2(d), a], 1))


def causal_attention(x):
    """Windows of four tokens; minus infinity leaves out what comes later, so a window's first token reads itself."""
    q = x.unflatten(2, (-1, 4)).permute(0, 2, 3, 1)
    scores = q @ q.transpose(-1, -2) + torch.full((4, 4), -torch.inf).triu(1)
    return (scores.softmax(-1) @ q)[:, :, 0].transpose(1, 2)


def shifted(x):
    """What a slice assignment into zeros gives: sample o reads o - 2."""
    y = torch.zeros(x.shape)
    y[..., 2:] = x[..., :-2]
    return y


def near(x):
    """A band matrix that forward makes from distances, whose sign matters: a window's sample i reads i and i - 1."""
    i = torch.arange(4.0)
    distance = i[:, None] - i
    band = ((distance >= 0) & (distance.abs() < 1.5)).to(x.dtype)
    return (x.unflatten(2, (-1, 4)) @ band.T)[..., 1]


ONE = {
    # net, before, after, step, out_step: outputs [u * out_step, v * out_step) read [u * step - before, v * step + after)
    "conv": (lambda: nn.Conv1d(2, 2, 3, padding=1), 1, 1, 1, 1),
    "conv strided": (lambda: nn.Conv1d(2, 2, 5, 2, 2), 2, 1, 2, 1),
    "conv dilated grouped": (lambda: nn.Conv1d(2, 2, 3, padding=3, dilation=3, groups=2), 3, 3, 1, 1),
    "conv same, even": (lambda: nn.Conv1d(2, 2, 4, padding="same"), 1, 2, 1, 1),
    "conv reflect": (lambda: nn.Conv1d(2, 2, 5, padding=2, padding_mode="reflect"), 2, 2, 1, 1),
    "conv replicate": (lambda: nn.Conv1d(2, 2, 5, padding=2, padding_mode="replicate"), 2, 2, 1, 1),
    "conv circular": (lambda: nn.Conv1d(2, 2, 5, padding=2, padding_mode="circular"), 2, 2, 1, 1),
    "four convs of an encoder": (
        lambda: seq(*(seq(nn.Conv1d(2, 2, 5, 2, 2), GDN(2, 1)) for _ in range(4))), 30, 15, 16, 1),
    "four tconvs of a decoder": (
        lambda: seq(*(nn.ConvTranspose1d(2, 2, 5, 2, 2, 1) for _ in range(4))), 1, 2, 1, 16),
    "tconv, bias only": (lambda: nn.ConvTranspose1d(2, 2, 1, 2), 0, 0, 1, 2),
    "strided, nearest, conv": (
        lambda: seq(nn.Conv1d(2, 2, 3, 2, 1), nn.Upsample(scale_factor=2), nn.Conv1d(2, 2, 3, padding=1)), 3, 2, 2, 2),
    "max pool": (lambda: seq(nn.Conv1d(2, 16, 1), nn.MaxPool1d(3, 2, 1)), 1, 0, 2, 1),
    "avg pool": (lambda: nn.AvgPool1d(3, 1, 1, count_include_pad=False), 1, 1, 1, 1),
    "linear x2": (lambda: nn.Upsample(scale_factor=2, mode="linear"), 1, 1, 1, 2),
    "linear x0.5": (lambda: nn.Upsample(scale_factor=0.5, mode="linear"), 0, 0, 2, 1),
    "norm over channels": (lambda: seq(ChannelsLast(2, 1), nn.Conv1d(2, 2, 3, padding=1)), 1, 1, 1, 1),
    "batch norm": (lambda: seq(nn.Conv1d(2, 2, 3, padding=1), nn.BatchNorm1d(2), nn.PReLU(2)), 1, 1, 1, 1),
    "softmax over channels": (lambda: seq(nn.Conv1d(2, 2, 3, padding=1), nn.Softmax(1)), 1, 1, 1, 1),
    "residual": (lambda: Residual(seq(nn.Conv1d(2, 2, 3, padding=1), nn.GELU(), nn.Conv1d(2, 2, 3, padding=1))), 2, 2, 1, 1),
    "masked": (lambda: masked(1, 0, 0, 0, 0), 2, -2, 1, 1),
    "masked in forward": (SelfMasked, 1, 0, 1, 1),
    "U-Net": (UNet1d, 11, 11, 4, 4),
    "attention in windows": (lambda: viewed.Windows(4, viewed.Attention(2)), 0, 0, 4, 4),
    "attention, later left out": (lambda: Do("causal", causal_attention), 0, -3, 4, 1),
    "slice assignment": (lambda: Do("shifted", shifted), 2, -2, 1, 1),
    "band by distance": (lambda: Do("near", near), 0, -2, 4, 1),
    "lstm over channels": (lambda: Tokens(nn.LSTM(1, 2, batch_first=True)), 0, 0, 1, 1),
    "weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Conv1d(2, 2, 3, padding=1)), 1, 1, 1, 1),
    "old weight norm": (lambda: nn.utils.weight_norm(nn.Conv1d(2, 2, 3, padding=1)), 1, 1, 1, 1),
    "threshold by comparison": (
        lambda: Do("gate", lambda x: torch.where(F.pad(x, (2, 0))[..., :-2] > 0, x, -x)), 2, 0, 1, 1),
    "vector quantiser": (lambda: seq(nn.Conv1d(2, 2, 3, padding=1), Quantiser()), 1, 1, 1, 1),
    "rounded through integers": (lambda: seq(Do("int", lambda x: x.round().int().float()), nn.Conv1d(2, 2, 3, padding=1)), 1, 1, 1, 1),
}  # fmt: skip


class Quantiser(nn.Module):
    """The nearest of 64 codes at each position."""

    def __init__(self):
        super().__init__()
        self.codes = nn.Embedding(64, 2)

    def forward(self, x):
        distance = torch.cdist(x.transpose(1, 2), self.codes.weight[None])
        return self.codes(distance.argmin(-1)).transpose(1, 2)


class Tokens(nn.Module):
    """A recurrent layer along the channels of each position."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        y, _ = self.inner(x.transpose(1, 2).reshape(-1, x.shape[1], 1))
        return y[:, -1].reshape(x.shape[0], -1, 2).transpose(1, 2)


def follows(twin, shape, dim, before, after, step, out_step, out_dim=None):
    """A block far from the borders: same shape with all else replaced, one sample less, and a tile on the grid."""
    out_dim = dim if out_dim is None else out_dim
    size = shape[dim]
    u, v = size // step // 2 - 1, size // step // 2 + 1
    x = residues(shape, 5)
    whole = run(twin, x)
    assert are_residues(whole)

    def block(y, first):
        return y.narrow(out_dim, u * out_step - first, (v - u) * out_step)

    def with_context(before, after):
        start, stop = u * step - before, v * step + after
        other = residues(shape, 6)
        other.narrow(dim, start, stop - start).copy_(x.narrow(dim, start, stop - start))
        return torch.equal(block(run(twin, other), 0), block(whole, 0))

    assert with_context(before, after)
    assert not with_context(before - 1, after)
    assert not with_context(before, after - 1)
    margin = (max(before, after, 0) // step + 4) * step
    start, stop = u * step - margin, size - (size - v * step - margin) // step * step
    tile = run(twin, x.narrow(dim, start, stop - start))
    assert stop - start < size
    assert torch.equal(block(tile, start // step * out_step), block(whole, 0))


@pytest.mark.parametrize("name", ONE)
def test_context_of_one_axis(name):
    make, *law = ONE[name]
    torch.manual_seed(0)
    follows(twin_of(make()), (1, 2, 32 * law[2] if law[2] < 16 else 13 * law[2]), 2, *law)


MANY = {
    "conv": (lambda n, C, T: C(2, 2, 3, padding=1), 1, 1, 1, 1),
    "strided": (lambda n, C, T: C(2, 2, 5, 2, 2), 2, 1, 2, 1),
    "reflect": (lambda n, C, T: C(2, 2, 3, padding=1, padding_mode="reflect"), 1, 1, 1, 1),
    "replicate": (lambda n, C, T: C(2, 2, 3, padding=1, padding_mode="replicate"), 1, 1, 1, 1),
    "circular": (lambda n, C, T: C(2, 2, 3, padding=1, padding_mode="circular"), 1, 1, 1, 1),
    "tconv": (lambda n, C, T: T(2, 2, 5, 2, 2, 1), 1, 1, 1, 2),
    "nearest": (lambda n, C, T: seq(nn.Upsample(scale_factor=2), C(2, 2, 3, padding=1)), 1, 1, 1, 2),
    "linear": (lambda n, C, T: nn.Upsample(scale_factor=2, mode=("bilinear", "trilinear")[n - 2]), 1, 1, 1, 2),
}
FLAT = {
    "cubic": (lambda: nn.Upsample(scale_factor=2, mode="bicubic"), 2, 2, 1, 2),
    "pixel shuffle": (lambda: seq(nn.PixelUnshuffle(2), nn.Conv2d(8, 8, 3, padding=1), nn.PixelShuffle(2)), 2, 2, 2, 2),
    "to depth": (lambda: seq(Do("", lambda x: viewed.to_depth(x, 2)), nn.Conv2d(8, 2, 1)), 0, 0, 2, 1),
    "unfold": (lambda: Unfolded(), 2, 2, 1, 1),
    "unpool": (lambda: Unpooled(), 0, 0, 2, 2),
}  # fmt: skip


class Unfolded(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Conv1d(18, 18, 1)

    def forward(self, x):
        return F.fold(self.mix(F.unfold(x, 3)), x.shape[2:], 3)


class Unpooled(nn.Module):
    def forward(self, x):
        y, places = F.max_pool2d(x, 2, return_indices=True)
        return F.max_unpool2d(y * 3, places, 2)


@pytest.mark.parametrize(("name", "n"), [(name, n) for name in MANY for n in (2, 3)])
def test_context_of_many_axes(name, n):
    make, *law = MANY[name]
    conv, tconv = ((nn.Conv2d, nn.ConvTranspose2d), (nn.Conv3d, nn.ConvTranspose3d))[n - 2]
    twin = twin_of(make(n, conv, tconv))
    for d in range(n):
        shape = [1, 2, *[6] * n]
        shape[2 + d] = 24 * law[2]
        follows(twin, tuple(shape), 2 + d, *law)


@pytest.mark.parametrize("name", FLAT)
def test_context_of_two_axes(name):
    make, *law = FLAT[name]
    twin = twin_of(make())
    follows(twin, (1, 2, 24 * law[2], 6), 2, *law)
    follows(twin, (1, 2, 6, 24 * law[2]), 3, *law)


@pytest.mark.parametrize("short", [0, 1])
def test_forty_convolutions_with_default_weights(short):
    twin = twin_of(seq(*(nn.Conv1d(1, 1, 3, padding=1) for _ in range(40))))
    x = residues((1, 1, 200), 1)
    whole, context = run(twin, x), 40 - short
    part = run(twin, x[..., 100 - context : 110 + context])[..., context : context + 10]
    assert torch.equal(part, whole[..., 100:110]) == (not short)


def attend(x):
    tokens = x.flatten(2).transpose(1, 2)
    return F.scaled_dot_product_attention(tokens, tokens, tokens).transpose(1, 2).reshape(x.shape)


OBSTACLES = {
    "group norm": nn.GroupNorm(2, 4),
    "instance norm": nn.InstanceNorm2d(4),
    "mean": Do("", lambda x: x - x.mean((2, 3), keepdim=True)),
    "adaptive pool": Do("", lambda x: x * F.adaptive_avg_pool2d(x, 1)),
    "flip": Do("", lambda x: x.flip(3)),
    "attention": Do("", attend),
    "softmax over space": nn.Softmax(3),
    "position": Do("", lambda x: x + torch.linspace(-1, 1, x.shape[3])),
    "align corners": nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
}


@pytest.mark.parametrize("name", OBSTACLES)
def test_obstacles_differ_nearly_everywhere(name):
    twin = twin_of(OBSTACLES[name])
    x = residues((1, 4, 8, 40), 0)
    whole, tile = run(twin, x), run(twin, x[..., :32])
    r = whole.shape[3] // 40
    assert are_residues(whole)
    assert (whole[..., 16 * r : 24 * r] != tile[..., 16 * r : 24 * r]).double().mean() > 0.95


# ---- constants, memory, refusals --------------------------------------------------------------------------------


def test_the_model_is_not_touched():
    model = seq(nn.Conv1d(2, 2, 3), nn.BatchNorm1d(2), SelfMasked()).train()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    twin = twin_of(model)
    run(twin, residues((1, 2, 20), 0))
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert all(t.dtype == before[name].dtype for name, t in model.state_dict().items())
    assert all(m.training for m in model.modules())
    assert not any(m.training for m in twin.modules())
    assert not model._forward_pre_hooks
    assert not model[0]._forward_hooks
    mine = {t.untyped_storage().data_ptr() for t in model.state_dict().values()}
    assert not mine & {t.untyped_storage().data_ptr() for t in twin.state_dict().values()}


def test_weights_are_drawn_by_name_and_tied_weights_stay_tied():
    a, b = nn.Linear(3, 3), nn.Linear(3, 3)
    b.weight = a.weight
    model = nn.ModuleDict({"a": a, "b": b, "c": nn.Linear(3, 3)})
    one, two, three = twin_of(model), twin_of(model), twin_of(model, seed=1)
    assert one["a"].weight is one["b"].weight
    for (name, p), q, r in zip(one.named_parameters(), two.parameters(), three.parameters(), strict=True):
        assert are_residues(p)
        assert (p > 0).all()
        assert torch.equal(p, q)
        assert not torch.equal(p, r), name
    assert not torch.equal(one["a"].weight, one["c"].weight)


class WithPlainTensors(nn.Module):
    """A list of float32 constants, which is no buffer, and a constant from outside of the net."""

    def __init__(self):
        super().__init__()
        self.scales = [torch.tensor(0.25), torch.tensor([0.5])]

    def forward(self, x):
        return x * self.scales[0] + self.scales[1] * OUTSIDE - torch.tensor(0.5)


OUTSIDE = torch.tensor([0.75])


def test_the_fixed_map():
    """Whole numbers modulo the prime, others by 2^20 of them; nothing but 0 becomes 0."""
    values = [0, 1, -1, 5, -7, PRIME - 1, PRIME + 2, PRIME, 0.5, -0.25, 1e-9, 2**40 + 0.5]
    expected = [0, 1, PRIME - 1, 5, PRIME - 7, PRIME - 1, 2, 1, 2**19 % PRIME, -(2**18) % PRIME, 1]
    expected.append((2**60 + 2**19) % PRIME)
    constants = torch.tensor(values, dtype=torch.float64)
    x = torch.zeros(len(values), dtype=torch.float64)
    twin = twin_of(Do("", lambda x: x + constants))
    assert run(twin, x).tolist() == expected
    assert [float(run(twin_of(Do("", lambda x, v=v: x + v)), x[:1])) for v in values] == expected
    assert run(twin_of(Do("", lambda x: x + torch.nan)), x).isnan().all()
    assert run(twin_of(Do("", lambda x: x + constants.to(torch.int64))), x).tolist()[:8] == expected[:8]


def test_layout_and_threads_change_nothing():
    twin, x = (
        twin_of(seq(nn.Conv2d(3, 8, 3), nn.GELU(), nn.Conv2d(8, 4, 3), nn.AvgPool2d(2))),
        residues((2, 3, 20, 20), 0),
    )
    y, threads = run(twin, x), torch.get_num_threads()
    assert torch.equal(y, run(twin, x.to(memory_format=torch.channels_last)))
    torch.set_num_threads(2 if threads == 1 else 1)
    again = run(twin, x)
    torch.set_num_threads(threads)
    assert torch.equal(y, again)


def test_constants_become_residues_where_they_meet_data():
    x = residues((7,), 0)
    y = run(twin_of(WithPlainTensors()), x)
    expected = [(int(v) * 2**18 + round(0.375 * 2**20) - 2**19) % PRIME for v in x]
    assert y.tolist() == expected


def test_writes_through_views_are_seen():
    def forward(x):
        y = torch.ones(x.shape[0], 2, x.shape[2])
        left, right = y.chunk(2, 1)
        left.copy_(x)
        right.mul_(3).add_(x)
        y[:, :, ::2].neg_()
        x.view(-1)[0] = 5
        return torch.cat([y, x], 1)

    x = residues((1, 1, 6), 0)
    y = run(twin_of(Do("", forward)), x.clone())
    sign = torch.tensor([-1, 1, -1, 1, -1, 1])
    assert torch.equal(y[0, 0], (x[0, 0] * sign) % PRIME)
    assert torch.equal(y[0, 1], ((x[0, 0] + 3) * sign) % PRIME)
    assert y[0, 2].tolist() == [5, *x[0, 0, 1:].tolist()]


def test_memory_that_nobody_writes_shows():
    def forward(x):
        y = torch.empty(x.shape)
        y[..., 1:] = x[..., 1:]
        return y

    assert run(twin_of(Do("", forward)), residues((1, 1, 4), 0)).isnan().flatten().tolist() == [True] + [False] * 3


class Remembering(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(1, 1, 4))

    def forward(self, x):
        y = torch.relu(self.seen) + x
        self.seen.copy_(x)
        return y


def test_data_kept_in_a_buffer_are_data():
    twin, x = twin_of(Remembering()), residues((1, 1, 4), 0)
    with Modular():
        first, second = twin(x), twin(x)
        relu = torch.relu(x)
    assert torch.equal(first, x)
    assert torch.equal(second, (relu + x) % PRIME)
    assert not torch.equal(relu, x)


@pytest.mark.parametrize("grad", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_any_state_of_autograd(grad):
    torch.manual_seed(0)
    twin = twin_of(
        seq(nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Linear(20, 20), nn.Upsample(scale_factor=2))
    )
    x = residues((1, 2, 20), 0)
    with grad():
        y = run(twin, x)
    assert torch.equal(y, run(twin, x))


@torch.library.custom_op("overlapcalc_test::blur", mutates_args=())
def blur(x: torch.Tensor) -> torch.Tensor:
    return x * 0.5


class Trained(nn.Module):
    def forward(self, x):
        return F.batch_norm(x, torch.zeros(2), torch.ones(2), training=True)


REFUSED = {
    "overlapcalc_test.blur": lambda x: blur(x),
    "aten.rand_like": lambda x: x + torch.rand_like(x),
    "aten.bernoulli_": lambda x: F.dropout(x, 0.5, training=True),
    "aten.randn": lambda x: x + torch.randn(3, 1, 1),
    "aten._local_scalar_dense": lambda x: x * 2 if x.sum() > 0 else x,
    "aten.grid_sampler_2d": lambda x: F.grid_sample(x, torch.zeros(1, 4, 4, 2), align_corners=False),
    "aten._fft_r2c": lambda x: torch.fft.rfft2(x).real,
    "aten.repeat_interleave": lambda x: x.repeat_interleave(x[0, 0, 0].long(), 3),
    "aten.nonzero": lambda x: (x > 3).nonzero(),
    "aten.index.Tensor": lambda x: x[x > 3],
    "aten.logical_not": lambda x: torch.logical_not(x),
    "aten.cumprod": lambda x: x.cumprod(3),
    "aten.native_batch_norm": Trained(),
    "aten.view.dtype": lambda x: x.view(torch.int64),
    "aten.copy_": lambda x: torch.zeros(x.shape, dtype=torch.uint8).copy_(x > 3),
    "aten.index_put_": lambda x: torch.zeros(x.shape, dtype=torch.uint8).index_put_((torch.tensor([0]),), x.long()),
}


@pytest.mark.parametrize("operator", REFUSED)
def test_what_has_no_twin_is_refused_by_name(operator):
    made = REFUSED[operator]
    twin = twin_of(made if isinstance(made, nn.Module) else Do("", made))
    with pytest.raises(NoTwin, match=operator.replace(".", r"\.")):
        run(twin, residues((1, 2, 8, 8), 0))


class Chosen(nn.Module):
    def forward(self, x):
        return torch.cond(torch.tensor(True), lambda x: x * 2, lambda x: x, (x,))


@pytest.mark.skipif(not hasattr(torch.utils._python_dispatch.TorchDispatchMode, "supports_higher_order_operators"),
                    reason="torch refuses these itself")  # fmt: skip
def test_operators_that_run_others_are_refused():
    with pytest.raises(NoTwin, match="cond"):
        run(twin_of(Chosen()), residues((1, 1, 4), 0))


@pytest.mark.parametrize("form", ["script", "trace", "export", "fx"])
def test_other_forms_of_a_net(form):
    net = seq(nn.Conv1d(1, 2, 3, padding=1), nn.BatchNorm1d(2), nn.ReLU(inplace=True), nn.Conv1d(2, 1, 3)).eval()
    x = torch.rand(1, 1, 16)
    made = {
        "script": torch.jit.script,
        "trace": lambda net: torch.jit.trace(net, x),
        "export": lambda net: torch.export.export(net, (x,)).module(),
        "fx": torch.fx.symbolic_trace,
    }[form](net)  # fmt: skip
    x = residues((1, 1, 16), 0)
    assert torch.equal(run(twin_of(net), x), run(twin_of(made), x))


def test_a_refusal_names_the_layer():
    twin = twin_of(seq(nn.Conv2d(2, 2, 1), seq(nn.ReLU(), Do("", lambda x: x.cumprod(2)))))
    with pytest.raises(NoTwin, match=r"^1\.1: aten\.cumprod\.default: has no twin"):
        run(twin, residues((1, 2, 8, 8), 0))


def test_results_share_no_memory_with_operands():
    x = residues((1, 1, 4), 0)
    with Modular():
        x[0, 0, 0].sum().add_(1)
        F.interpolate(x, size=4, mode="linear").zero_()
        x.float().zero_()
    assert torch.equal(x, residues((1, 1, 4), 0))


def test_constants_may_use_what_data_may_not():
    twin = twin_of(Do("", lambda x: x + blur(torch.ones(1)) * (2 if torch.ones(2).sum() > 1 else 1)))
    assert are_residues(run(twin, residues((1, 2, 8, 8), 0)))


def test_input_that_is_no_residues_is_refused():
    twin = twin_of(nn.Conv1d(1, 1, 3))
    for x in (torch.rand(1, 1, 8, dtype=torch.float64), torch.ones(1, 1, 8), torch.full((1, 1, 8), PRIME).double()):
        with pytest.raises(InputError, match="residues"):
            run(twin, x)


class Image:
    def __init__(self, pixels):
        self.pixels = {"rgb": [pixels]}


def test_data_are_found_inside_of_arguments():
    """A tensor that is missed would be a constant, and computed as torch does."""
    twin = twin_of(Do("", lambda image: image.pixels["rgb"][0] * 65520))
    x = residues((1, 1, 4), 0)
    assert torch.equal(run(twin, Image(x)), PRIME - x)
    with pytest.raises(InputError, match="no tensors"):
        run(twin, 3)


def test_settings_come_back():
    before = torch.backends.cudnn.enabled, torch.backends.mha.get_fastpath_enabled(), torch.is_grad_enabled()
    with pytest.raises(NoTwin), Modular():
        residues((3,), 0).cumprod(0)
    with Modular():
        assert not torch.backends.cudnn.enabled
    after = torch.backends.cudnn.enabled, torch.backends.mha.get_fastpath_enabled(), torch.is_grad_enabled()
    assert before == after


# ---- whole nets -------------------------------------------------------------------------------------------------


def example(file, name, *args):
    spec = importlib.util.spec_from_file_location(f"twin_{file}", EXAMPLES / f"{file}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return twin_of(getattr(module, name)(*args))


def test_codec():
    codec = example("codec", "Codec", 4, 6)
    follows(codec.g_a, (1, 3, 16, 16 * 14), 3, 30, 15, 16, 1)
    follows(codec.g_s, (1, 6, 2, 24), 3, 1, 2, 1, 16)
    follows(codec, (1, 3, 16, 16 * 26), 3, 30 + 16, 15 + 2 * 16, 16, 16)


def test_unet():
    follows(example("unet", "UNet", 4), (1, 3, 8, 96), 3, 11, 11, 4, 4)


def test_super_resolver():
    """Ten 3x3 convolutions: the first, two in each of four blocks, the last. Bilinear reads less."""
    follows(example("superres", "SuperResolver", 2, 4), (1, 3, 4, 64), 3, 10, 10, 1, 2)


def test_squeeze_and_excitation():
    twin = example("obstacle", "Denoiser")
    x = residues((1, 3, 16, 64), 0)
    whole, tile = run(twin, x), run(twin, x[..., :48])
    assert (whole[..., 8:40] != tile[..., 8:40]).double().mean() > 0.95


def reached(twin, x, dim):
    """[outputs, inputs]: what a change of one input sample changes, over several surroundings."""
    found = None
    for attempt in range(6):
        clean = residues((x.shape[dim], *x.shape[1:]), 2 * attempt)
        dirty, other = clean.clone(), residues(clean.shape, 2 * attempt + 1)
        for i in range(x.shape[dim]):
            dirty[i].narrow(dim - 1, i, 1).copy_(other[i].narrow(dim - 1, i, 1))
        changed = run(twin, clean) != run(twin, dirty)
        changed = changed.any(dim=tuple(d for d in range(1, changed.dim()) if d != dim)).T
        found = changed if found is None else found | changed
    return found


def depends_alike(model, x, *, zero_taps):
    """The twin's outputs change with exactly those input samples that the real net's outputs depend on."""
    twin = twin_of(model)
    for dim in range(2, x.dim()):
        truth, mine = Dependency(model, x, dim, zero_taps=zero_taps), reached(twin, x, dim)
        if not zero_taps:
            assert torch.equal(mine, truth.matrix)
            continue
        assert not (mine & ~truth.matrix).any()
        for o in range(truth.out_size):
            found = mine[o].nonzero().flatten().tolist()
            assert truth.hull(o, o + 1) == ((found[0], found[-1] + 1) if found else None)


@pytest.mark.parametrize("seed", few(range(40), 12))
def test_random_nets_depend_on_what_they_do(seed):
    rng = random.Random(seed)
    while True:
        net = Net(lambda low, high: rng.randint(low, high), depth=4, axes=rng.choice([1, 2]))
        x = torch.rand(1, net.channels, *[rng.randint(12, 20) for _ in range(net.n)], dtype=torch.float64) + 0.1
        model = healthy(net.module, seed)
        try:
            with torch.no_grad():
                y = model(x)
        except (RuntimeError, ValueError, AssertionError):
            continue
        if y.isfinite().all() and 0 < y.numel() < 2000:
            break
    depends_alike(model, x, zero_taps=net.zero_taps)


KINDS = [*families.CASES[::3], *((*case, False) for case in operators.CASES)]
NONE = {"complex": "complex"}


@pytest.mark.parametrize(("name", "net", "shape", "zero_taps"), KINDS, ids=[case[0] for case in KINDS])
def test_kinds_of_nets_depend_on_what_they_do(name, net, shape, zero_taps):
    model, x = healthy(net, 1), torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1
    if name in NONE:
        with pytest.raises(NoTwin, match=NONE[name]):
            run(twin_of(model), residues(shape, 0))
        return
    depends_alike(model, x, zero_taps=zero_taps)
