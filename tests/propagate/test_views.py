"""Views that cut an axis, join it again, or lay several axes into one dimension: followed exactly, or refused."""

from __future__ import annotations

import random

import pytest
import torch
import torch.nn.functional as F
from shared.agreement import followed
from shared.nets import Do
from shared.thorough import few
from shared.viewed import Attention, Places, Tokens, Windows, from_depth, in_batches, to_depth
from torch import nn

import overlapcalc as oc
from overlapcalc.algebra.reshape import CELL, Factoring, Part, view


def heads(x: torch.Tensor) -> torch.Tensor:
    """Pixels in one dimension, channels in two heads of it."""
    tokens = x.flatten(2).transpose(1, 2)
    return tokens.reshape(*tokens.shape[:2], 2, -1).softmax(-1).flatten(2).transpose(1, 2).reshape(x.shape)


class SpaceToBatch(nn.Module):
    """A convolution of dilation 2 the old way: the four phases of the image laid into the batch."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x):
        n, c, h, w = x.shape
        y = x.view(n, c, h // 2, 2, w // 2, 2).permute(3, 5, 0, 1, 2, 4).reshape(4 * n, c, h // 2, w // 2)
        y = self.conv(y)
        return y.view(2, 2, n, -1, h // 2, w // 2).permute(2, 3, 4, 0, 5, 1).reshape(n, -1, h, w)


def blown_up(x: torch.Tensor) -> torch.Tensor:
    """Nearest upsampling by expand."""
    n, c, h, w = x.shape
    return x[:, :, :, None, :, None].expand(n, c, h, 2, w, 3).reshape(n, c, 2 * h, 3 * w)


CASES: list[tuple[str, nn.Module, tuple[int, ...], bool]] = [
    ("to depth", Do("", lambda x: to_depth(x, 2)), (1, 1, 10, 12), False),
    ("to depth 3-D", Do("", lambda x: to_depth(x, 2)), (1, 1, 6, 4, 8), False),
    ("to depth, one channel", Do("", lambda x: to_depth(x, 2)[:, 1:2]), (1, 1, 10, 12), False),
    ("from depth", Do("", lambda x: from_depth(x, 3)), (1, 9, 5, 7), False),
    ("there, conv, back", nn.Sequential(Do("", lambda x: to_depth(x, 2)), nn.Conv2d(4, 4, 3, padding=1, groups=4),
                                        Do("", lambda x: from_depth(x, 2))), (1, 1, 14, 18), False),
    ("there and back", Do("", lambda x: from_depth(to_depth(x, 3), 3)), (1, 1, 13, 19), False),
    ("tokens", nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), Tokens(3, 2)), (1, 2, 9, 11), False),
    ("tokens of two images", Tokens(3, 2), (2, 3, 9, 6), False),
    ("heads", Do("", heads), (1, 4, 6, 8), False),
    ("windows", Windows(4, nn.Identity()), (1, 2, 17, 12), False),
    ("windows of two images", Windows(3, nn.Linear(2, 2)), (2, 2, 9, 12), False),
    ("places", Windows(2, Places(2, 2)), (1, 2, 8, 10), True),
    ("places 1-D", nn.Sequential(nn.Conv1d(1, 2, 3, padding=1), Windows(5, Places(5, 1))), (1, 1, 33), True),
    ("attention", nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), Windows(4, Attention(2)), nn.Conv2d(2, 1, 3, padding=1)),
     (1, 2, 20, 16), False),
    ("space to batch", SpaceToBatch(), (1, 2, 16, 20), False),
    ("blown up", Do("", blown_up), (1, 2, 7, 5), False),
    ("rows interleaved", Do("", lambda x: torch.stack([x, F.avg_pool2d(x, 3, 1, 1)], 3).flatten(2, 3)), (1, 1, 9, 8), False),
    ("rows in the batch", Do("", lambda x: in_batches(x, lambda y: F.avg_pool1d(y, 3, 1, 1))), (2, 3, 9, 8), False),
    ("einsum over pixels", Do("", lambda x: torch.einsum("bchw,dc->bdhw", x, torch.ones(2, 3, dtype=x.dtype))), (1, 3, 7, 9), False),
    ("pixel by pixel", Do("", lambda x: F.linear(x.permute(0, 2, 3, 1).reshape(-1, 3), torch.ones(2, 3, dtype=x.dtype)).view(
        x.shape[0], *x.shape[2:], 2).permute(0, 3, 1, 2)), (2, 3, 7, 9), False),
]  # fmt: skip


@pytest.mark.parametrize(("name", "net", "shape", "zero_taps"), few(CASES, CASES[::2]), ids=[c[0] for c in CASES])
def test_followed(name, net, shape, zero_taps):
    assert followed(net, shape, name, zero_taps=zero_taps).wrong == []


def test_windows_read_whole_windows():
    """One 3x3 convolution before windows of 4: place 0 of a block reads [-1, 5), whatever its place."""
    w = oc.analyze(nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), Windows(4, Attention(2))), (1, 1, 32, 32))["W"]
    assert (w.step, w.out_step, tuple(w.context)) == (4, 4, (1, 1))
    assert [w.reads(o, o + 1) for o in range(8, 12)] == [oc.Span(7, 13)] * 4
    assert tuple(w.tile) == (4, 4)  # whole windows only


REFUSED = [
    ("attention over all", Do("", lambda x: (lambda t: (t @ t.mT).softmax(-1) @ t)(x.flatten(2).mT).mT.reshape(x.shape)), "global"),
    ("softmax over all", Do("", lambda x: x.flatten(2).softmax(2).view(x.shape)), "global"),
    ("grid attention", Do("", lambda x: x.view(1, 4, 4, x.shape[2] // 4, x.shape[3]).mean(2)), "size-dependent"),
    ("a filter over tokens", Do("", lambda x: F.avg_pool1d(x.flatten(2), 3, 1, 1).view(x.shape)), "reshape"),
    ("a class token", Do("", lambda x: torch.cat([x.new_zeros(1, 4, 1), x.flatten(2)], 2)[..., 1:].view(x.shape)), "reshape"),
    ("positions", Do("", lambda x: (x.flatten(2) + torch.arange(x[0, 0].numel(), dtype=x.dtype)).view(x.shape)), "absolute-position"),
    ("rows read as columns", Do("", lambda x: x.reshape(1, 4, x.shape[3], x.shape[2])), "size-dependent"),
    ("pieces that divide nothing", Do("", lambda x: x.reshape(1, 4, -1, 6, x.shape[3] // 2, 8).sum(3).flatten(3)), "reshape"),
    ("windows of another size", Do("", lambda x: x.flatten(2).view(1, 4, -1, 48).softmax(-1).view(x.shape)), "size-dependent"),
    ("an output of tokens", Do("", lambda x: x.flatten(2)), "reshape"),
    ("channels and samples in one output", Do("", lambda x: x.mean(2)[:, :, None].expand(-1, -1, 3, -1).flatten(2)), "reshape"),
    ("meets what lies otherwise", Do("", lambda x: (x.flatten(2) * x.mT.flatten(2)).view(x.shape)), "axes-mixed"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "net", "cause"), REFUSED, ids=[c[0] for c in REFUSED])
def test_refused(name, net, cause):
    a = oc.analyze(net, (1, 4, 24, 24))
    assert not a.blocking_free
    assert cause in {o.cause for o in a.obstacles}, a.obstacles


def test_a_window_that_fits_one_size_only():
    """Pieces are taken from the traced shapes: without a second size they are not believed."""

    class Fixed(nn.Module):
        def forward(self, x):
            assert x.shape[-1] == 16
            return x.view(1, 1, 4, 4).flatten(2)

    a = oc.analyze(Fixed(), (1, 1, 16))
    assert not a.size_verified
    assert {o.cause for o in a.obstacles} == {"reshape"}


@pytest.mark.parametrize("size", few([4, 5, 6, 7, 9], 2))
def test_an_image_of_one_window(size):
    """One window of four: shapes do not tell whether the axis lies across the windows or within, a larger image does."""
    w = oc.analyze(nn.Sequential(Windows(4, Attention(1)), nn.Conv2d(1, 1, 1)), (1, 1, 13, size))["W"]
    assert (w.step, w.receptive_field) == (4, (4, 4))
    assert w.reads(0, 1, size=size) == oc.Span(0, 4)


@pytest.mark.parametrize("seed", range(200))
def test_layout_view_is_the_view(seed):
    """A view of parts is checked against torch's: label every sample by its position along the axis."""
    rng = random.Random(seed)
    parts = [Part(rng.choice([1, 2, 3, 4, 6]), rng.choice([CELL, CELL])) for _ in range(rng.randint(0, 3))]
    parts.insert(rng.randint(0, len(parts)), Part(rng.choice([4, 8, 12]), "W"))
    total = torch.Size([p.size for p in parts]).numel()
    shape: list[int] = []
    while torch.Size(shape).numel() < total:
        rest = total // torch.Size(shape).numel()
        shape.append(rng.choice([d for d in range(1, rest + 1) if rest % d == 0]))
    layout = Factoring.plain([p.size for p in parts], [p.label for p in parts])
    found = view(layout, [(range(len(parts)), range(len(shape)))], shape)
    assert [torch.Size(found.after.sizes[i] for i in found.after.places(d)).numel() for d in range(len(shape))] == shape
    if found.torn:
        return
    at = layout.labels.index("W")
    position = torch.arange(parts[at].size).view([-1 if d == at else 1 for d in range(len(parts))])
    seen = position.expand([p.size for p in parts]).reshape(found.after.sizes)
    axis = found.after.labels.index("W")
    length = found.after.sizes[axis]
    rows = seen.movedim(axis, 0).reshape(length, -1)
    for o in range(length):  # sample o of the axis holds exactly its share of the old positions
        share = {o * parts[at].size // length + k for k in range(max(1, parts[at].size // length))}
        assert set(rows[o].tolist()) == share


def test_a_view_is_one_row_of_the_table():
    a = oc.analyze(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), Windows(4, nn.Linear(1, 1))), (1, 1, 32, 32))
    rows = {row.name: row.detail for row in a.layers}
    assert [detail for name, detail in rows.items() if name.startswith("1.") and detail] == [{"cut": 4}, {"join": 4}]
    assert not any("/" in name for name in rows)
