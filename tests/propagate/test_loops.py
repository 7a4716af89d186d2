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
    for o in range(length // 3, length - length // 6):
        span = axis.reads(o, o + 1)
        if span.start >= 0 and span.stop <= n:
            assert (span.start, span.stop) == read(model, x, range(o, o + 1)), o
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


@pytest.mark.parametrize("function", [carried, placed, numbered, growing, reversed_too, first_kept, last_too])
def test_loops_without_a_law_are_an_obstacle(function):
    net = Fn(function)
    net.gain = nn.Parameter(torch.rand(64) + 0.5)
    assert oc.analyze(net, (1, 1, 12)).obstacles, function.__name__
    assert "L" not in never_wrong(net, (1, 1, 12))


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


def test_a_long_loop_is_looked_at_with_few_turns():
    """However long the image, its loop is found at a few turns; and tiles are traced with as few."""
    model = Cached([3, 3])
    a = oc.analyze(model, (1, 1, 60))
    plan = oc.plan(model, (1, 1, 60), block=10, schedule="crop")
    assert tuple(a["L"].context) == (4, 0)
    assert a.verified_at is not None
    assert a.verified_at[0][2] < 10
    assert len(plan.strips["L"].slots) == 6
