"""Nets that take the samples of an axis a few at a time, in a loop with caches: what they read, against the gradients
of the net itself, and what runs them."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
import torch
from shared.blockwise import Fn, by, never_wrong
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.analysis import other_sizes


class Cached(nn.Module):
    """A stack of steps, run on a few samples at a time. Each step reads the last samples of its operand again, which it
    keeps from turn to turn: a causal convolution, by a kernel of so many taps; 1 taps reads none.

    chunk: samples per turn. first: the first turn has a single sample. ahead: it is given so many samples more. up: how
    many samples the first step gives for one. flush: how caches begin, full of zeros, or empty and then padded.
    """

    def __init__(self, taps, *, chunk=1, first=False, ahead=0, up=1, flush="zeros") -> None:
        super().__init__()
        self.kernels = nn.ParameterList(nn.Parameter(torch.rand(n) + 0.5) for n in taps)
        self.chunk, self.first, self.ahead, self.up, self.flush = chunk, first, ahead, up, flush

    def turns(self, n: int) -> list[tuple[int, int]]:
        cuts = [0, *range(1 if self.first else self.chunk, n, self.chunk), n]
        return list(pairwise(cuts))

    def forward(self, x: Tensor) -> Tensor:
        n, made = x.shape[-1] - self.ahead, []
        kept: list[Tensor | None] = [None] * len(self.kernels)
        for start, stop in self.turns(n):
            h = x[..., start : stop + self.ahead]
            if self.ahead:
                h = sum(h[..., k : k + stop - start] * (k + 1) for k in range(self.ahead + 1))
            for i, kernel in enumerate(self.kernels):
                h = self.step(h, kernel, kept, i)
            made.append(h)
        return torch.cat(made, -1)

    def step(self, h: Tensor, kernel: Tensor, kept: list[Tensor | None], i: int) -> Tensor:
        back = len(kernel) - 1
        if back:
            known = kept[i]
            if known is None and self.flush == "zeros":
                known = h.new_zeros(*h.shape[:-1], back)
            elif known is None or known.shape[-1] < back:
                own = back - (0 if known is None else known.shape[-1])
                known = nn.functional.pad(h[..., :0] if known is None else known, (own, 0))
            both = torch.cat([known, h], -1)
            kept[i] = both[..., -back:]
            h = nn.functional.conv1d(both, kernel[None, None])
        return h.repeat_interleave(self.up, -1) if i == 0 and self.up > 1 else h


def read(model: nn.Module, x: Tensor, outputs: range) -> tuple[int, int]:
    """The first sample that these outputs depend on, and the one after the last, by the net's own gradient."""
    x = x.clone().requires_grad_()
    y = model(x)[..., outputs.start : outputs.stop]
    (slope,) = torch.autograd.grad((y * torch.rand_like(y)).sum(), x)
    found = slope.reshape(-1, x.shape[-1]).abs().amax(0).nonzero().flatten().tolist()
    return found[0], found[-1] + 1


def checked(model: nn.Module, n: int) -> oc.Analysis:
    """An analysis whose law, at every output inside the image, is what the net reads; and tiles of it are right."""
    model = model.double().eval()
    x = torch.randn(1, 1, n, dtype=torch.float64)
    a = oc.analyze(model, x)
    assert a.blocking_free, a.obstacles
    axis, length = a["L"], model(x).shape[-1]
    for o in [0, 1, *range(length // 3, length - length // 6), length - 1]:
        span = axis.reads(o, o + 1)
        if span.start >= 0 and span.stop <= n:
            assert (span.start, span.stop) == read(model, x, range(o, o + 1)), o
        assert tuple(axis.reads(o, o + 1, size=n)) == read(model, x, range(o, o + 1)), o
    for block in (axis.step, 3 * axis.step):
        assert torch.allclose(by(a, model, x, block=block, schedule="crop"), model(x), rtol=0, atol=1e-12)
    return a


@pytest.mark.parametrize(
    ("model", "n", "context", "step"),
    [
        (Cached([3, 3]), 14, (4, 0), 1),
        (Cached([3, 2, 4], chunk=2), 24, (6, 0), 2),
        (Cached([2], chunk=4), 28, (1, 0), 4),
        (Cached([3], ahead=2), 16, (2, 2), 1),
        (Cached([3, 3], up=2), 16, (3, 0), 1),
        (Cached([3, 3], flush="short"), 16, (4, 0), 1),
        (Cached([2, 3], chunk=3, first=True), 25, (3, 0), 3),
        (Cached([1, 1], chunk=4), 24, (0, 0), 4),
    ],
)
def test_what_loops_with_caches_read(model, n, context, step):
    """Context by hand: taps - 1 of each step, in samples of the input; a block begins where a turn does, or, with one
    sample in the first turn, a turn less one sample before."""
    a = checked(model, n)
    assert tuple(a["L"].context) == context
    assert a["L"].step == step


@pytest.mark.parametrize("seed", range(6))
def test_what_any_loop_with_caches_reads(seed):
    draw = Random(seed)
    model = Cached(
        [draw.randint(1, 4) for _ in range(draw.randint(1, 3))],
        chunk=draw.randint(1, 2),
        first=draw.random() < 0.5,
        ahead=draw.randint(0, 2),
        up=draw.randint(1, 2),
        flush=draw.choice(["zeros", "short"]),
    )
    checked(model, 22 + draw.randint(0, 3))


def test_one_sample_less_breaks_it():
    model = Cached([3, 4]).double().eval()
    a = checked(model, 20)
    context = a["L"].context.before
    assert context == 5
    x = torch.randn(1, 1, 20, dtype=torch.float64)
    other = x.clone()
    other[..., : 12 - context] += 1  # all that the context leaves out
    assert torch.equal(model(x)[..., 12:], model(other)[..., 12:])
    other[..., 12 - context] += 1  # the first sample that it holds
    assert not torch.equal(model(x)[..., 12], model(other)[..., 12])


def carried(net, x):
    state, made = x[..., :1] * 0, []
    for i in range(x.shape[-1]):
        state = torch.tanh(state + x[..., i : i + 1])
        made.append(state)
    return torch.cat(made, -1)


def placed(net, x):
    return torch.cat([x[..., i : i + 1] * net.gain[i] for i in range(x.shape[-1])], -1)


def numbered(net, x):
    return torch.cat([x[..., i : i + 1] * (i + 1) for i in range(x.shape[-1])], -1)


def growing(net, x):
    """Each turn takes all that came before once more."""
    made = x[..., :1]
    for i in range(1, x.shape[-1]):
        made = torch.cat([made * 0.5, x[..., i : i + 1]], -1)
    return made


def reversed_too(net, x):
    made = [x[..., i : i + 1] * 2 for i in range(x.shape[-1])]
    return torch.cat(made[::-1], -1)


def first_kept(net, x):
    return torch.cat([x[..., i : i + 1] + x[..., :1] for i in range(x.shape[-1])], -1)


def last_too(net, x):
    return torch.cat([x[..., i : i + 1] + x[..., -1:] for i in range(x.shape[-1])], -1)


def other_channel(net, x):
    """Each turn takes another channel of what mixes all of them."""
    return torch.cat([net.mix(x[..., i : i + 1])[:, i : i + 1] for i in range(x.shape[-1])], -1)


def other_channel_beside_all(net, x):
    made = [net.mix(x[..., i : i + 1]) for i in range(x.shape[-1])]
    return torch.cat([h[:, i : i + 1] + h.sum(1, keepdim=True) for i, h in enumerate(made)], -1)


def drawn(net, x):
    return torch.cat([x[..., i : i + 1] + torch.rand(1, 1, 1) for i in range(x.shape[-1])], -1)


def stretched(net, x):
    """By another factor at every size, though each sample reads its neighbours at all of them."""
    made = torch.cat([x[..., i : i + 1] * 2 for i in range(x.shape[-1])], -1)
    return nn.functional.interpolate(made, size=2 * x.shape[-1], mode="linear", align_corners=True)


def other_rows(net, x):
    """Each turn cuts other positions out of a dimension that is no axis of the loop."""
    return torch.cat(
        [net.mix(x[..., i : i + 1]).transpose(1, 2)[..., i : i + 8].sum(-1, keepdim=True) for i in range(x.shape[-1])],
        -1,
    )


def padded_otherwise(net, x):
    wide = [nn.functional.pad(x[..., i : i + 1], (0, 0, i, 64 - i)) for i in range(x.shape[-1])]
    return torch.cat(wide, -1)


def otherwise_when_longer(net, x):
    """Longer images have turns of another kind."""
    made = [x[..., i : i + 1] if i < 15 else x.mean(-1, keepdim=True) for i in range(x.shape[-1])]
    return torch.cat(made, -1)


WITHOUT_LAW = [
    carried, placed, numbered, growing, reversed_too, first_kept, last_too, other_channel, other_channel_beside_all, drawn,
    stretched, other_rows, padded_otherwise, otherwise_when_longer,
]  # fmt: skip


@pytest.mark.parametrize("function", WITHOUT_LAW)
def test_loops_without_a_law_are_an_obstacle(function):
    net = Fn(function, mix=nn.Conv1d(1, 64, 1))
    net.gain = nn.Parameter(torch.rand(64) + 0.5)
    assert oc.analyze(net, (1, 1, 12)).obstacles, function.__name__
    assert "L" not in never_wrong(net, (1, 1, 12))


def by_number(net, x, g):
    return torch.cat([x[..., i : i + 1] * g[:, i][:, None, None] for i in range(x.shape[-1])], -1)


def by_number_behind(net, x, g):
    made = torch.cat([x[..., i : i + 1] * 2 for i in range(x.shape[-1])], -1)
    return made + g[:, None, : x.shape[-1]]


def last_behind(net, x, g):
    made = torch.cat([x[..., i : i + 1] * 2 for i in range(x.shape[-1])], -1)
    return made + g[:, None, x.shape[-1] - 1 : x.shape[-1]]


@pytest.mark.parametrize("function", [by_number, by_number_behind, last_behind])
def test_an_input_without_the_axis_that_is_read_by_position(function):
    a = oc.analyze(Fn(function), ((1, 1, 13), (1, 64)))
    assert [o.cause for o in a.obstacles] == ["loop"]


@pytest.mark.parametrize("n", [13, 14, 17])
@pytest.mark.parametrize("period", [3, 5])
def test_tiles_are_no_shorter_than_those_on_which_it_is_the_same_net(n, period):
    def otherwise_by_size(net, x):
        made = torch.cat([x[..., i : i + 1] * 2 for i in range(x.shape[-1])], -1)
        return made * 3 if x.shape[-1] % period == 0 else made.tanh()

    net, x = Fn(otherwise_by_size), torch.randn(1, 1, n, dtype=torch.float64)
    a = oc.analyze(net, x)
    for block in () if a.obstacles else (2, 4, 5):
        assert torch.equal(by(a, net, x, block=block, schedule="crop"), net(x))


def test_tiles_along_another_axis_are_compared_with_all_turns():
    def by_height(net, x):
        return torch.cat([x[..., i : i + 1] * (2 if i < x.shape[2] else 3) for i in range(x.shape[3])], -1)

    net, x = Fn(by_height), torch.randn(1, 1, 16, 13, dtype=torch.float64)
    a = oc.analyze(net, x)
    if not a.obstacles:
        assert torch.equal(by(a, net, x, block={"H": 3}, schedule="crop"), net(x))


@pytest.mark.parametrize(("chunk", "n"), [(3, 13), (4, 13), (5, 14), (4, 26)])
def test_a_last_turn_that_is_shorter(chunk, n):
    def chunked(net, x):
        kept, made = torch.zeros_like(x[..., :1]), []
        for i in range(0, x.shape[-1], chunk):
            made.append(x[..., i : i + chunk] + 2 * kept)
            last = min(i + chunk, x.shape[-1]) - 1
            kept = x[..., last : last + 1]
        return torch.cat(made, -1)

    a = checked(Fn(chunked), n)
    assert a["L"].step == chunk
    assert a["L"].context.before == 1


def both_ways(net, x, y):
    """Two inputs, two outputs, one of them reading ahead."""
    n, kept, made, ahead = x.shape[-1], x[..., :1] * 0, [], []
    for i in range(n - 1):
        made.append(x[..., i : i + 1] + 2 * kept)
        ahead.append(y[..., i + 1 : i + 2] - kept)
        kept = x[..., i : i + 1]
    return torch.cat(made, -1), torch.cat(ahead, -1)


def test_several_inputs_and_outputs():
    a = oc.analyze(Fn(both_ways), ((1, 1, 12), (1, 1, 12)))
    assert a.blocking_free
    read = {(p.output, p.input): (p["L"].context and tuple(p["L"].context)) for p in a.pairs}
    x, y = a.inputs
    assert read == {("output0", x): (1, 0), ("output0", y): None, ("output1", x): (1, -1), ("output1", y): (-1, 1)}
    x, y = (torch.randn(1, 1, 12, dtype=torch.float64) for _ in range(2))
    for found, whole in zip(by(a, Fn(both_ways), x, y, block=3, schedule="crop"), Fn(both_ways)(x, y), strict=True):
        assert torch.equal(found, whole)


def stacked(net, x):
    """Samples picked one by one, so that a turn has no axis, in two dimensions."""
    kept, made = x[:, :, 0] * 0, []
    for i in range(x.shape[2]):
        made.append(net.space(x[:, :, i : i + 1])[:, :, 0] + kept)
        kept = x[:, :, i]
    return torch.stack(made, 2)


def test_along_other_axes_they_are_what_they_were():
    net = Fn(stacked, space=nn.Conv3d(1, 1, (1, 3, 5), padding=(0, 1, 2)))
    a = oc.analyze(net, (1, 1, 8, 12, 14))
    assert {axis: tuple(a[axis].context) for axis in "DHW"} == {"D": (1, 0), "H": (1, 1), "W": (2, 2)}
    assert never_wrong(net, (1, 1, 8, 7, 6), 3) == "DHW"
    assert tuple(map(tuple, a.cone().hull or ())) == ((-1, 1), (-1, 2), (-2, 3))


class Thresholds(Cached):
    def step(self, h, kernel, kept, i):
        return torch.relu(super().step(h, kernel, kept, i) - 0.5)


def test_a_loop_is_proved():
    found = oc.verify(Thresholds([3, 2]), (1, 1, 12), block=4)
    assert found.proved
    assert [proof.status for proof in found.proofs] == ["proved", "proved", "not applicable", "proved", "proved"]


def test_trim_takes_one_channel_as_it_did():
    """What a loop may ask of an operator's numbers is not asked of it elsewhere."""
    net = Fn(lambda net, x: net.mix(x)[:, 3], mix=nn.Conv2d(1, 8, 3, padding=1)).double()
    x = torch.randn(1, 1, 16, 16, dtype=torch.float64)
    a = oc.analyze(net, x)
    for schedule in ("trim", "stream"):
        assert torch.allclose(by(a, net, x, block=5, schedule=schedule), net(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("least", "n"), [(6, 4), (6, 6), (4, 3), (4, 4)])
def test_short_images_with_other_turns(least, n):
    """Only longer images have turns that are alike."""

    def mirrored_when_short(net, x):
        n = x.shape[-1]
        return torch.cat(
            [x[..., i : i + 1] + x[..., k : k + 1] for i in range(n) for k in [i if n > least else n - 1 - i]], -1
        )

    a = oc.analyze(Fn(mirrored_when_short), (1, 1, n))
    x = torch.randn(1, 1, n, dtype=torch.float64)
    for o in range(n if not a.obstacles else 0):
        span = a["L"].reads(o, o + 1, size=n)
        assert span.start <= read(Fn(mirrored_when_short), x, range(o, o + 1))[0]
        assert span.stop >= read(Fn(mirrored_when_short), x, range(o, o + 1))[1]


def by_width(net, x):
    return torch.cat([x[:, :, i : i + 1] * x.shape[3] for i in range(x.shape[2])], 2)


def test_axes_that_were_compared_at_no_other_length_are_not_free(monkeypatch):
    """Where no size far away is tried, or the net runs at none, nothing tells that W does not matter."""

    def narrow(net, x):
        if x.shape[3] > 12:
            raise ValueError("too wide")
        return by_width(net, x)

    assert not oc.analyze(Fn(narrow), (1, 1, 9, 12)).size_verified
    monkeypatch.setattr(other_sizes, "far", lambda *_, **__: {})
    assert "W" in {o.axis for o in oc.analyze(Fn(by_width), (1, 1, 9, 12)).obstacles}


def test_a_bound_within_a_turn_is_no_minimum():
    """Which sample a turn takes depends on the data: either of two."""

    def picked(net, x):
        made = []
        for i in range(0, x.shape[-1], 2):
            both = x[..., i : i + 2]
            made.append(both[..., (both[0, 0] > 0).long()])
        return torch.cat(made, -1)

    a = oc.analyze(Fn(picked), (1, 1, 16))
    assert a.blocking_free
    assert not a["L"].exact


def test_rows_by_turn():
    def by_turn(net, x):
        return torch.cat([net.mix(x[..., i : i + 1])[:, :, i : i + 8] for i in range(x.shape[-1])], -1)

    assert "W" not in never_wrong(Fn(by_turn, mix=nn.Conv2d(1, 1, (3, 1), padding=(1, 0))), (1, 1, 64, 13))


def test_reads_at_another_size():
    axis = oc.analyze(Cached([3, 3]), (1, 1, 8))["L"]
    assert tuple(axis.reads(8, 9, size=10)) == (4, 9)
    assert tuple(axis.reads(1, 2, size=10)) == (0, 2)


def test_a_long_loop():
    model = Cached([3, 3])
    a = oc.analyze(model, (1, 1, 30))
    plan = oc.plan(model, (1, 1, 30), block=10, schedule="crop")
    assert tuple(a["L"].context) == (4, 0)
    assert len(plan.strips["L"].slots) == 3
