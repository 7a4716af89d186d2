"""Shifted windows whose masks cut what the shift joined: what they read, against the gradients of the net itself, and
tiles of the unmodified net."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from shared.blockwise import Fn, by, never_wrong
from torch import Tensor, nn

import overlapcalc as oc


class Rows(nn.Module):
    """Attention within windows along one axis, moved by `shift` samples round the end, in one of the usual spellings.

    cut: what stands between what the shift joined: a mask of booleans for fused attention, minus infinity added or
    filled in, or a number. x is (batch, samples, channels).
    """

    def __init__(self, window: int, shift: int, cut: str = "fused", channels: int = 4) -> None:
        super().__init__()
        self.window, self.shift, self.cut = window, shift, cut
        self.norm, self.qkv = nn.LayerNorm(channels), nn.Linear(channels, 3 * channels)
        self.bias = nn.Parameter(torch.randn(window, window))

    def joined(self, n: int) -> Tensor:
        """(window, query, key): whether the shift joined the two."""
        part = torch.zeros(n)
        part[n - self.window : n - self.shift] = 1
        part[n - self.shift :] = 2
        part = part.view(-1, self.window)
        return part[:, None] != part[:, :, None]

    def forward(self, x: Tensor) -> Tensor:
        batch, n, channels = x.shape
        y = self.norm(x)
        if self.shift:
            y = y.roll(-self.shift, 1)
        q, k, v = self.qkv(y.reshape(-1, self.window, channels)).chunk(3, -1)
        joined = self.joined(n) if self.shift else torch.zeros(n // self.window, self.window, self.window).bool()
        y = self.attention(q, k, v, joined.repeat(batch, 1, 1)).reshape(x.shape)
        return x + (y.roll(self.shift, 1) if self.shift else y)

    def attention(self, q: Tensor, k: Tensor, v: Tensor, joined: Tensor) -> Tensor:
        if self.cut == "fused":
            return F.scaled_dot_product_attention(q, k, v, attn_mask=~joined)
        scores = q @ k.transpose(1, 2) + self.bias
        if self.cut == "filled":
            scores = scores.masked_fill(joined, -torch.inf)
        elif self.cut == "chosen":
            scores = torch.where(joined, -torch.inf, scores)
        else:
            low = -torch.inf if self.cut == "added" else float(self.cut)
            scores = scores + torch.zeros_like(scores[:, :1, :1]) + torch.zeros(joined.shape).masked_fill(joined, low)
        return scores.softmax(-1) @ v


class Tokens(nn.Module):
    """Layers along the samples of a signal, between two convolutions."""

    def __init__(self, *layers: nn.Module, patch: int = 1, channels: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, channels, patch, patch)
        self.layers = nn.Sequential(*layers)
        self.last = nn.ConvTranspose1d(channels, 1, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layers(self.first(x).transpose(1, 2)).transpose(1, 2))


class Block(nn.Module):
    """A block of a Swin transformer: windows along both axes, the mask by the usual code, with minus infinity."""

    def __init__(self, window: int, shift: int, fused: bool, channels: int = 4) -> None:
        super().__init__()
        self.window, self.shift, self.fused = window, shift, fused
        self.norm, self.qkv, self.proj = nn.LayerNorm(channels), nn.Linear(channels, 3 * channels), nn.Linear(4, 4)

    def parts(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        k = self.window
        return x.view(n, h // k, k, w // k, k, c).permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, k * k, c)

    def mask(self, h: int, w: int) -> Tensor:
        image, count = torch.zeros(1, h, w, 1), 0
        cuts = (slice(0, -self.window), slice(-self.window, -self.shift), slice(-self.shift, None))
        for rows in cuts:
            for columns in cuts:
                image[:, rows, columns] = count
                count += 1
        windows = self.parts(image).squeeze(2)
        apart = windows.unsqueeze(1) - windows.unsqueeze(2)
        if self.fused:
            return apart == 0
        return apart.masked_fill(apart != 0, float("-inf")).masked_fill(apart == 0, 0.0)

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        y = self.norm(x)
        if self.shift:
            y = torch.roll(y, (-self.shift, -self.shift), (1, 2))
        k = self.window
        q, key, v = self.qkv(self.parts(y)).reshape(-1, k * k, 3, 2, c // 2).permute(2, 0, 3, 1, 4)
        mask = self.mask(h, w).repeat(n, 1, 1)[:, None] if self.shift else None
        if self.fused:
            y = F.scaled_dot_product_attention(q, key, v, attn_mask=mask)
        else:
            scores = q @ key.transpose(-2, -1)
            if mask is not None:
                scores = scores.view(n, -1, 2, k * k, k * k) + mask.unsqueeze(0).to(scores.dtype)
                scores = scores.view(-1, 2, k * k, k * k)
            y = scores.softmax(-1) @ v
        y = self.proj(y.transpose(1, 2).reshape(-1, k * k, c))
        y = y.view(n, h // k, w // k, k, k, c).permute(0, 1, 3, 2, 4, 5).contiguous().view(n, h, w, c)
        return x + (torch.roll(y, (self.shift, self.shift), (1, 2)) if self.shift else y)


class Image(nn.Module):
    def __init__(self, *layers: nn.Module, patch: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, patch, patch) if patch > 1 else nn.Conv2d(1, 4, 3, padding=1)
        self.layers, self.last = nn.Sequential(*layers), nn.ConvTranspose2d(4, 1, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layers(self.first(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


def read(model: nn.Module, x: Tensor) -> list[set[int]]:
    """What each output along the last axis depends on, by the net's own gradient."""
    x = x.clone().requires_grad_()
    y, found = model(x), []
    for o in range(y.shape[-1]):
        (slope,) = torch.autograd.grad((y[..., o] * torch.rand_like(y[..., o])).sum(), x, retain_graph=True)
        found.append(set(slope.reshape(-1, x.shape[-1]).abs().amax(0).nonzero().flatten().tolist()))
    return found


def checked(model: nn.Module, x: Tensor) -> oc.Analysis:
    """An analysis whose answers are what the net reads, at every output, at the ends too; and tiles of it are right."""
    model = model.double().eval()
    a = oc.analyze(model, x)
    assert a.blocking_free, a.obstacles
    axis = a[a.axes[-1]]
    for o, real in enumerate(read(model, x)):
        span = axis.reads(o, o + 1, size=x.shape[-1])
        assert (span.start, span.stop) == (min(real), max(real) + 1), o
    for block in (axis.step, 3 * axis.step):
        assert torch.allclose(by(a, model, x, block=block, schedule="crop"), model(x), rtol=0, atol=1e-12)
    return a


@pytest.mark.parametrize("cut", ["fused", "filled", "chosen", "added"])
def test_every_spelling_of_the_mask(cut):
    """A window of 4 that begins 2 behind the block's own reads 2 before it and 2 behind it."""
    a = checked(Tokens(Rows(4, 2, cut)), torch.randn(1, 1, 48, dtype=torch.float64))
    assert (tuple(a["L"].context), a["L"].step, a["L"].exact) == ((2, 2), 4, True)


@pytest.mark.parametrize(
    ("layers", "patch", "n", "context", "step"),
    [
        ((Rows(4, 0), Rows(4, 2)), 1, 48, (4, 4), 4),
        ((Rows(4, 2), Rows(4, 0), Rows(4, 2)), 1, 64, (6, 6), 4),
        ((Rows(8, 0), Rows(8, 4, "added")), 2, 256, (16, 16), 16),
        ((Rows(4, 1),), 1, 44, (3, 1), 4),
        ((Rows(4, 2), Rows(6, 3)), 1, 156, (6, 6), 12),
    ],
)
def test_whole_nets(layers, patch, n, context, step):
    """Context by hand: each layer widens what a block of windows reads to whole windows of its own."""
    a = checked(Tokens(*layers, patch=patch), torch.randn(1, 1, n, dtype=torch.float64))
    assert tuple(a["L"].context) == context
    assert a["L"].step == step


def test_one_sample_less_breaks_it():
    model = Tokens(Rows(4, 0), Rows(4, 2)).double().eval()
    x = torch.randn(1, 1, 48, dtype=torch.float64)
    before, after = oc.analyze(model, x)["L"].context
    block = slice(16, 24)
    for last in (16 - before - 1, 16 - before):
        other = x.clone()
        other[..., : last + 1] += 1
        assert torch.allclose(model(x)[..., block], model(other)[..., block], rtol=0, atol=1e-13) == (
            last < 16 - before
        )
    for first in (24 + after, 24 + after - 1):
        other = x.clone()
        other[..., first:] += 1
        assert torch.allclose(model(x)[..., block], model(other)[..., block], rtol=0, atol=1e-13) == (
            first >= 24 + after
        )


@pytest.mark.parametrize("fused", [True, False])
def test_along_both_axes(fused):
    model = Image(Block(4, 0, fused), Block(4, 2, fused))
    a = checked(model, torch.randn(1, 1, 24, 32, dtype=torch.float64))
    assert {axis: (tuple(a[axis].context), a[axis].step) for axis in "HW"} == {"H": ((5, 5), 4), "W": ((5, 5), 4)}


def test_the_cone_is_the_product_of_both_axes():
    cone = oc.analyze(Image(Block(4, 2, True)), (1, 1, 24, 28)).cone()
    assert (tuple(map(tuple, cone.hull or ())), cone.exact, len(cone.taps)) == (((-1, 2), (-1, 2)), False, 9)


def test_with_padding_to_whole_windows():
    def padded(net, x):
        n = x.shape[-1]
        return net.windows(F.pad(x, (0, -n % 4)))[..., :n]

    a = checked(Fn(padded, windows=Tokens(Rows(4, 2))), torch.randn(1, 1, 46, dtype=torch.float64))
    assert (tuple(a["L"].context), a["L"].step) == ((2, 2), 4)


def test_at_another_size():
    axis = oc.analyze(Tokens(Rows(4, 2)), (1, 1, 48))["L"]
    assert tuple(axis.reads(0, 4, size=32)) == (0, 6)
    assert tuple(axis.reads(28, 32, size=32)) == (26, 32)


def test_windows_of_patches():
    a = checked(Image(Block(8, 4, True), patch=2), torch.randn(1, 1, 48, 160, dtype=torch.float64))
    assert (tuple(a["W"].context), a["W"].step) == ((8, 8), 16)


# ---- what has no law ----------------------------------------------------------------------------------------------


def test_a_number_cuts_nothing():
    """With a score of -100, the samples from the other end are read: only less."""
    assert never_wrong(Tokens(Rows(4, 2, "-100")), (1, 1, 32), 4) == ""


def test_a_mask_for_one_size():
    """Kept as a buffer, it fits no other size: what the net is there is not known."""
    model = Tokens(Rows(4, 2))
    layer = model.layers[0]
    layer.register_buffer("kept", layer.joined(32))
    layer.joined = lambda n: layer.kept  # type: ignore[method-assign]
    assert never_wrong(model, (1, 1, 32), 4) == ""


class Wrong(Rows):
    """A mask that leaves something out, but not what the shift joined."""

    def __init__(self, mask) -> None:
        super().__init__(4, 2, "filled")
        self.mask = mask

    def joined(self, n: int) -> Tensor:
        return self.mask(n)


def half(n: int) -> Tensor:
    """One way only: the first samples still read the last ones."""
    found = Rows(4, 2).joined(n)
    found[-1, 2:] = False
    return found


def by_parity(n: int) -> Tensor:
    found = Rows(4, 2).joined(n)
    found[:: 1 + n // 4 % 2, 0, 3] = True
    return found


def in_the_middle(n: int) -> Tensor:
    """A seam of its own, at half the length."""
    found = Rows(4, 2).joined(n)
    found[n // 8, :2, 2:] = True
    return found


def long_period(n: int) -> Tensor:
    found = Rows(4, 2).joined(n)
    found[::5, 0, 3] = True
    return found


@pytest.mark.parametrize("mask", [half, by_parity, in_the_middle, long_period])
def test_masks_that_are_no_law(mask):
    assert oc.analyze(Tokens(Wrong(mask)), (1, 1, 32)).obstacles


def placed(net, x):
    """What is added differs at every sample."""
    places = torch.arange(x.shape[-1], dtype=x.dtype)
    return net.windows(x + torch.sin(places / 7))


def places_within(net, x):
    places = torch.arange(x.shape[-1]) % 4
    return net.windows(x + places.to(x.dtype))


def mean_too(net, x):
    return net.windows(x) + x.mean(-1, keepdim=True)


def ends_joined(net, x):
    return net.windows(x) + x.roll(3, -1)


def other_shift_back(net, x):
    return net.windows(x).roll(1, -1)


def half_a_turn(net, x):
    return net.windows(x.roll(x.shape[-1] // 2, -1)).roll(-(x.shape[-1] // 2), -1)


def turned(net, x):
    return net.windows(x.flip(-1)).flip(-1)


def reflected(net, x):
    return F.avg_pool1d(F.pad(net.windows(x), (3, 3), mode="reflect"), 7, 1)


def swapped(net, x):
    """In every other pair of windows the two are taken the other way round."""
    n = x.shape[-1] // 4
    order = torch.arange(n) ^ (torch.arange(n) // 2 % 2)
    y = net.windows(x).view(1, 1, n, 4)
    return (y[:, :, order] - 2 * y).view(x.shape)


def first_samples(net, x):
    return net.windows(x) + x[..., :1]


def long_weights(net, x):
    return net.windows(x) * (1 + (torch.arange(x.shape[-1]) > 100)).to(x.dtype)


FREE = (places_within, reflected, long_weights)  # the last one at this size, and all smaller ones


@pytest.mark.parametrize(
    "function",
    [placed, places_within, mean_too, ends_joined, other_shift_back, half_a_turn, turned, reflected, swapped,
     first_samples, long_weights],
)  # fmt: skip
def test_beside_windows_it_is_never_wrong(function):
    net = Fn(function, windows=Tokens(Rows(4, 2)))
    free = never_wrong(net, (1, 1, 64), 4)
    assert not free or function in FREE
    if function in FREE:
        assert free == "L"


def test_keys_that_are_left_out_change_nothing():
    """A weight of zero reads nothing, as everywhere, though torch multiplies NaN by it."""
    model, x = Tokens(Rows(4, 2)).double().eval(), torch.randn(1, 1, 32, dtype=torch.float64)
    for other in (1e3, -1e3):
        there = x.clone()
        there[..., -2:] = other
        assert torch.allclose(model(x)[..., :2], model(there)[..., :2], rtol=0, atol=1e-13)
