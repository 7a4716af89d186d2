"""How far ahead nets read that accumulate: against brute force, sample by sample, in float64."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from math import ceil

import pytest
import torch
from shared.once import Traces
from torch import Tensor, nn
from torch.nn import functional as F

import overlapcalc as oc
from overlapcalc.propagate import through

TRACES = Traces()
SIZE = 48


class Net(nn.Module):
    def __init__(self, run: Callable[..., Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.run, self.layers = run, nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x, *self.layers)


def first_and_last(net: nn.Module, size: int = SIZE) -> list[tuple[int, int]]:
    """For every output along the last axis, the first and the last input sample that it changes with; (0, -1) for none."""
    torch.manual_seed(7)
    net = net.double().eval()
    x = torch.randn(1, 2, size, dtype=torch.float64)
    with torch.no_grad():
        y = net(x)
        seen: list[list[int]] = [[] for _ in range(y.shape[-1])]
        for j in range(size):
            moved = x.clone()
            moved[..., j] += 10 + torch.rand(2, dtype=torch.float64)  # large: a running maximum must see it
            for o in (net(moved) != y).nonzero()[:, -1].unique().tolist():
                seen[o].append(j)
    return [(min(s, default=0), max(s, default=-1)) for s in seen]


def ahead_by_hand(net: nn.Module, scale: Fraction, size: int = SIZE) -> int:
    """Of the outputs in the middle of the image; all of them read its beginning."""
    found = first_and_last(net, size)
    middle = range(len(found) // 3, 2 * len(found) // 3)
    assert all(found[o][0] < 4 and found[o][1] > 0 for o in middle)  # of a piece of four, its own place
    return max(found[o][1] + 1 - ceil((o + 1) * scale) for o in middle)


def conv(k: int, **more: int) -> nn.Module:
    return nn.Conv1d(2, 2, k, **{"padding": k // 2, **more})


def late(k: int) -> nn.Module:
    return nn.Sequential(nn.ConstantPad1d((k - 1, 0), 0.0), conv(k, padding=0))


def attention(x: Tensor, **more: object) -> Tensor:
    x = x.transpose(1, 2)
    return F.scaled_dot_product_attention(x, x, x, **more).transpose(1, 2)  # type: ignore[arg-type]


def over_time(x: Tensor, layer: nn.Module) -> Tensor:
    return layer(x.transpose(1, 2))[0].transpose(1, 2)


def running_norm(x: Tensor) -> Tensor:
    """That of Conv-TasNet: mean and variance of all that was, counted from the start."""
    count = torch.arange(1, x.shape[-1] + 1) * x.shape[1]
    mean = x.sum(1, keepdim=True).cumsum(-1) / count
    square = (x * x).sum(1, keepdim=True).cumsum(-1) / count
    return (x - mean) / (square - mean * mean + 1e-3).sqrt()


def uneven() -> nn.Module:
    return nn.ConvTranspose1d(2, 2, 4, 2, 1, dilation=3)


ONE_SIDED: dict[str, Callable[[], nn.Module]] = {
    "causal": lambda: Net(lambda x, a: a(x).cumsum(-1), late(3)),
    "conv before": lambda: Net(lambda x, a: a(x).cumsum(-1), conv(5)),
    "conv after": lambda: Net(lambda x, a: a(x.cumsum(-1)), conv(5)),
    "strides": lambda: Net(lambda x, a, b: b(a(x).cumsum(-1)), conv(5, stride=2), conv(4, stride=2, padding=1)),
    "upsampling": lambda: Net(lambda x, a, b: b(a(x).cumsum(-1)), nn.ConvTranspose1d(2, 2, 4, 2, 1), conv(3)),
    "uneven phases": lambda: Net(lambda x, a: a(x).cumsum(-1), nn.ConvTranspose1d(2, 2, 3, 2, 1, 1, dilation=3)),
    "the phase that reads less far": lambda: Net(lambda x, a: a(x).cumsum(-1)[..., ::2], uneven()),
    "down and up": lambda: Net(lambda x, a: F.interpolate(a(x).cumsum(-1), scale_factor=2.0), conv(5, stride=2)),
    "branches": lambda: Net(lambda x, a, b: torch.cat([a(x).cumsum(-1), b(x)], 1), conv(3), conv(9)),
    "a delay": lambda: Net(lambda x: F.pad(x, (4, 0))[..., : x.shape[-1]].cumsum(-1)),
    "a crop": lambda: Net(lambda x: x.cumsum(-1)[..., 5:]),
    "twice": lambda: Net(lambda x, a: a(x.cumsum(-1)).cumsum(-1), conv(3)),
    "maximum": lambda: Net(lambda x, a: a(x).cummax(-1)[0], late(3)),
    "logarithms": lambda: Net(lambda x: x.logcumsumexp(-1)),
    "running norm": lambda: Net(lambda x, a: a(running_norm(x)), conv(3)),
    "counted ones": lambda: Net(lambda x: x.cumsum(-1) / torch.ones_like(x).cumsum(-1)),
    "LSTM": lambda: Net(lambda x, a, b: a(over_time(x, b)), conv(3), nn.LSTM(2, 2, 2, batch_first=True)),
    "GRU": lambda: Net(over_time, nn.GRU(2, 3, batch_first=True)),
    "attention": lambda: Net(lambda x, a: attention(a(x), is_causal=True), conv(3)),
    "two flips": lambda: Net(
        lambda x, a: a(x.flip(-1)).flip(-1).cumsum(-1), late(3)
    ),  # late, end for end: it looks ahead
    "pieces": lambda: Net(lambda x: x.view(1, 2, -1, 4).cumsum(2).flatten(2)),
}


@pytest.mark.parametrize("name", ONE_SIDED)
def test_look_ahead_is_what_brute_force_finds(name: str):
    net = ONE_SIDED[name]().double()
    with TRACES.once(same=name):
        found = oc.analyze(net, (1, 2, SIZE))
    axis = found["L"]
    assert not found.blocking_free
    assert axis.scale is not None
    assert axis.look_ahead == ahead_by_hand(net, axis.scale)
    assert axis.history is None
    assert found.between().one_sided("L").carried


def test_an_output_reads_what_the_one_before_it_read(monkeypatch):
    """Even outputs read a sample less far than the odd ones before them, whose sums they take over."""
    monkeypatch.setattr(through, "accumulated", lambda reads: reads)
    make = ONE_SIDED["the phase that reads less far"]
    assert oc.analyze(make(), (1, 2, SIZE))["L"].look_ahead == -1
    assert ahead_by_hand(make(), Fraction(1)) == 0


TWO_SIDED: dict[str, Callable[[], nn.Module]] = {
    "flipped": lambda: Net(lambda x: x.flip(-1).cumsum(-1)),
    "from the end": lambda: Net(lambda x: x.flip(-1).cumsum(-1).flip(-1)),
    "from the end, twice": lambda: Net(lambda x, a: a(x.flip(-1).cumsum(-1)).flip(-1).cumsum(-1), conv(3)),
    "less the total": lambda: Net(lambda x: x.cumsum(-1) - x.sum(-1, keepdim=True)),
    "less the last": lambda: Net(lambda x: x.cumsum(-1) - x.cumsum(-1)[..., -1:]),
    "both directions": lambda: Net(over_time, nn.LSTM(2, 2, batch_first=True, bidirectional=True)),
    "attention": lambda: Net(attention),
    "rolled": lambda: Net(lambda x: x.cumsum(-1).roll(3, -1)),
    "stretched": lambda: Net(lambda x: F.interpolate(x.cumsum(-1), size=64)),
    "sorted": lambda: Net(lambda x: x.sort(-1)[0].cumsum(-1)),
}


@pytest.mark.parametrize("name", TWO_SIDED)
def test_what_reads_ahead_without_limit_is_refused(name: str):
    found = oc.analyze(TWO_SIDED[name](), (1, 2, SIZE))
    assert found.between().one_sided("L") is None
    with pytest.raises(oc.ObstacleError):
        found["L"]


def test_the_refused_ones_do_read_the_end():
    """All but the stretched one, which reads more of the future the longer it is."""
    for name, make in TWO_SIDED.items():
        last = [last for _, last in first_and_last(make())]
        assert last[len(last) // 3] > SIZE // 3 + 10 or name in ("stretched", "rolled"), name


def test_a_constant_that_follows_the_size_is_refused():
    """What a sample is divided by depends on how many come: that is known only at the end."""
    net = Net(lambda x: x.cumsum(-1) / torch.linspace(1, 2, x.shape[-1]))
    assert oc.analyze(net, (1, 2, SIZE)).between().one_sided("L") is None


def test_nothing_but_what_lies_ahead_is_answered():
    axis = oc.analyze(ONE_SIDED["conv after"](), (1, 2, SIZE))["L"]
    for ask in (
        lambda: axis.context, lambda: axis.tile, lambda: axis.receptive_field, lambda: axis.reach, lambda: axis.exact,
        lambda: axis.reads(0, 1), lambda: axis.tile_span(0, 8),
    ):  # fmt: skip
        with pytest.raises(oc.ObstacleError, match="accumulates along the whole axis"):
            ask()
    assert axis.place(3) == oc.Span(3, 4)
    assert "ahead=2" in repr(axis)


def test_the_other_axis_is_as_ever():
    net = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), Net(lambda x: x.cumsum(-1)))
    found = oc.analyze(net, (1, 2, 16, 20))
    assert found["H"].context == oc.Sides(1, 1)
    assert (found["W"].look_ahead, found["W"].history) == (1, None)
    assert found.between().one_sided("H") is None


def test_two_inputs_and_final_states():
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(2, 3, batch_first=True)

        def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            states, last = self.gru(
                F.pad(x, (0, 0, 0, 2))[:, 2:] + F.avg_pool1d(y.transpose(1, 2), 3, 1, 1).transpose(1, 2)
            )
            return states, last

    found = oc.analyze(Both(), [(1, SIZE, 2)] * 2, layout=["NLC", "NLC"])
    assert found.between(0, "x")["L"].look_ahead == 2
    assert found.between(0, "y")["L"].look_ahead == 1
    with pytest.raises(oc.ObstacleError):  # the final state is read at the end
        found.between(1, "x")["L"]


def drawn(seed: int) -> nn.Module:
    pick = random.Random(seed)
    layers: list[nn.Module] = []
    for _ in range(pick.randint(1, 3)):
        layers.append(
            pick.choice(
                [
                    lambda: conv(pick.choice([2, 3, 5]), padding=pick.randint(0, 2)),
                    lambda: conv(pick.choice([3, 4]), stride=2, padding=pick.randint(0, 1)),
                    lambda: nn.ConvTranspose1d(2, 2, pick.choice([3, 4]), 2, 1, dilation=pick.choice([1, 3])),
                    lambda: nn.Upsample(scale_factor=2),
                    lambda: nn.Sequential(uneven(), Net(lambda x: x.cumsum(-1)[..., ::2])),
                    lambda: nn.Sequential(nn.AvgPool1d(2), nn.Upsample(scale_factor=2, mode="linear")),
                    lambda: Net(lambda x, a, b: a(x) + b(x), conv(1), late(4)),
                ]
            )()
        )
    for _ in range(pick.randint(1, 2)):
        layers.insert(pick.randint(0, len(layers)), Net(lambda x: x.cumsum(-1)))
    return nn.Sequential(*layers)


@pytest.mark.parametrize("seed", range(8))
def test_random_nets(seed: int):
    torch.manual_seed(seed)
    net = drawn(seed).double()
    axis = oc.analyze(net, (1, 2, SIZE))["L"]
    assert axis.scale is not None
    assert axis.look_ahead == ahead_by_hand(net, axis.scale)
