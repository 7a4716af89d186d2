"""Nets that were built to fool the analysis. Each is refused by name, or answered with a tile that is proved right."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from shared.agreement import same_on
from shared.nets import healthy
from torch import nn

import overlapcalc as oc


class Net(nn.Module):
    def __init__(self, function, **parts) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *xs):
        return self.function(self, *xs)


def conv() -> nn.Conv2d:
    return nn.Conv2d(3, 3, 3, padding=1)


def kernel_of_size(s, x):
    t = torch.arange(-3, 4).to(x)
    k = torch.exp(-(t**2) / (2 * (x.shape[3] / 16) ** 2))
    return F.conv2d(x, (k / k.sum()).expand(3, 1, 1, 7), padding=(0, 3), groups=3)


def written_ramp(s, x):
    y = x.clone()
    y[:, :1] = torch.linspace(0, 1, x.shape[3]).to(x)
    return s.c(y)


def ramp(x: torch.Tensor) -> torch.Tensor:
    return torch.arange(x.shape[3]).to(x)


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x):
        self.count += 1
        return x * self.count


REFUSED = [
    ("ratio of the sides", Net(lambda s, x: s.c(x) * (x.shape[3] / x.shape[2]), c=conv()), "size-dependent"),
    ("square or not", Net(lambda s, x: s.c(x) if x.shape[2] == x.shape[3] else 2 * s.c(x), c=conv()), "size-dependent"),
    ("width for both", Net(lambda s, x: F.interpolate(s.c(x), size=x.shape[3]), c=conv()), "size-dependent"),
    ("difference", Net(lambda s, x: s.c(x) * (1 + x.shape[3] - x.shape[2]), c=conv()), "size-dependent"),
    ("parameter by size", Net(lambda s, x: x * (s.g / x.shape[3]), g=nn.Parameter(torch.ones(3, 1, 1))), "size-dependent"),
    ("kernel by size", Net(kernel_of_size), "size-dependent"),
    ("weight by size", Net(lambda s, x: F.conv2d(x, s.w / x.shape[3]), w=nn.Parameter(torch.ones(3, 3, 1, 3))), "size-dependent"),
    ("stacked ramp", Net(lambda s, x: torch.stack([x, ramp(x).expand_as(x)], 1).flatten(1, 2)), "absolute-position"),
    ("concatenated ramp", Net(lambda s, x: torch.cat([x, ramp(x).expand_as(x)], 1)), "absolute-position"),
    ("written ramp", Net(written_ramp, c=conv()), "absolute-position"),
    ("ramp of matrices",
     Net(lambda s, x: (x.permute(0, 3, 2, 1) @ (ramp(x)[:, None, None] * torch.eye(3).to(x))).permute(0, 3, 2, 1)),
     "absolute-position"),
    ("batch norm over columns", Net(lambda s, x: s.b(x.transpose(1, 3)), b=nn.BatchNorm2d(24)), "absolute-position"),
    ("PReLU over columns", Net(lambda s, x: s.a(x.transpose(1, 3)), a=nn.PReLU(24)), "absolute-position"),
    ("random channels", Net(lambda s, x: torch.cat([x, torch.randn_like(x)], 1)), "random"),
    ("random offset", Net(lambda s, x: x + torch.randn(1, 3, 1, 1)), "random"),
    ("random order", Net(lambda s, x: x[:, torch.randperm(3)]), "random"),
    ("a count of calls", Counting(), "random"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "net", "cause"), REFUSED, ids=[r[0] for r in REFUSED])
def test_refused(name, net, cause):
    a = oc.analyze(net, (1, 3, 24, 24))
    assert not a.blocking_free
    assert cause in {o.cause for o in a.obstacles}


LARGE_ONLY = [
    ("short images padded",
     Net(lambda s, x: s.c(F.pad(x, (0, max(0, 32 - x.shape[3]), 0, 0), "replicate"))[..., : x.shape[3]], c=conv()), 48, 44),
]  # fmt: skip


@pytest.mark.parametrize(("name", "net", "size", "start"), LARGE_ONLY, ids=[r[0] for r in LARGE_ONLY])
def test_a_tile_on_which_the_net_is_another_one_grows(name, net, size, start):
    """A short tile gives other values, the one that is given does not."""
    net = healthy(net, 1)
    x = torch.rand(1, 3, 24, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        y = net(x)
    w = oc.analyze(net, (1, 3, 24, size))["W"]
    tile = w.tile_span(start, start + 4)
    assert same_on(net, x, y, 3, tile, start, start + 4, w)
    needed = w.reads(start, start + 4, size=size)
    assert not same_on(net, x, y, 3, oc.Span(max(0, needed.start - 2), min(size, needed.stop + 2)), start, start + 4, w)


def test_a_tile_on_which_the_net_does_not_run_grows():
    def multiple(s, x):
        if x.shape[3] % 16 or x.shape[3] < 48:
            raise ValueError("no")
        return s.c(x)

    w = oc.analyze(Net(multiple, c=conv()), (1, 3, 32, 96))["W"]
    assert w.step == 16
    assert w.tile_span(0, 16).length >= 48


def test_branches_by_remainder_are_periodic():
    w = oc.analyze(Net(lambda s, x: x if x.shape[3] % 3 == 0 else 2 * x), (1, 3, 10, 49))["W"]
    assert w.step % 3 == 0
    choice = nn.ModuleList(nn.Conv2d(3, 2, 3, padding=1) for _ in range(3))
    assert oc.analyze(Net(lambda s, x: s.m[x.shape[3] % 3](x), m=choice), (1, 3, 10, 33))["W"].step % 3 == 0


@pytest.mark.parametrize(
    ("join", "shape"),
    [
        (lambda x, v: x * torch.sin(v[:, :, None, None] * ramp(x)), (1, 3)),
        (lambda x, v: x * v[:, None, None, :], (1, 22)),
    ],
)
def test_conditioning_that_carries_positions(join, shape):
    a = oc.analyze(Net(lambda s, x, v: join(x, v)), [(1, 3, 24, 22), shape])
    assert "absolute-position" in {o.cause for o in a.obstacles}
    fine = oc.analyze(Net(lambda s, x, v: x * v[:, :, None, None]), [(1, 3, 24, 22), (1, 3)])
    assert fine.blocking_free


def test_conditioning_that_is_drawn_at_random():
    net = Net(lambda s, x, v: x * F.dropout(v, training=True)[:, :, None, None])
    a = oc.analyze(net, [(1, 3, 24, 22), (1, 3)])
    assert {o.cause for o in a.obstacles} == {"random"}


@pytest.mark.parametrize(
    ("weigh", "weight"),
    [
        (lambda w: F.relu(-w), -torch.ones(1, 1, 3, 3)),
        (lambda w: w * (w.abs() >= w.abs().median()), torch.rand(1, 1, 3, 3)),
        (lambda w: F.relu(w - w.mean()), torch.ones(1, 1, 3, 3)),
    ],
)
def test_taps_that_training_could_switch_off_count(weigh, weight):
    net = Net(lambda s, x: F.conv2d(x, weigh(s.w), padding=1), w=nn.Parameter(weight))
    assert tuple(oc.analyze(net, (1, 1, 20, 20))["W"].context) == (1, 1)


class Closure(nn.Module):
    """A lambda over the original, which a copy of the module does not redirect."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 1, 3, padding=1), nn.BatchNorm2d(1)
        nn.init.dirac_(self.conv.weight)
        self.function = lambda x: self.norm(self.conv(x))

    def forward(self, x):
        return self.function(x)


class Unregistered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = [nn.Parameter(torch.zeros(1, 1, 3, 3))]

    def forward(self, x):
        return F.conv2d(x, self.weights[0], padding=1)


@pytest.mark.parametrize("build", [Closure, Unregistered])
def test_weights_out_of_sight_are_weights(build):
    net = build().train()
    assert tuple(oc.analyze(net, (1, 1, 20, 20))["W"].context) == (1, 1)
    assert all(m.training for m in net.modules())
    if isinstance(net, Closure):
        assert int(net.norm.num_batches_tracked) == 0


def test_masked_samples_are_never_called_exact():
    def every_other(s, x):
        return torch.where(torch.arange(x.shape[3]) % 2 == 0, s.c(x), x)

    assert not oc.analyze(Net(every_other, c=conv()), (1, 3, 8, 32))["W"].exact


def test_a_number_read_from_the_data_is_refused():
    with pytest.raises(oc.TraceError, match="item"):
        oc.analyze(Net(lambda s, x: x * x.max().item()), (1, 3, 16, 24))


@pytest.mark.parametrize(
    "function",
    [
        lambda s, x: torch.max(x, torch.zeros(1)),
        lambda s, x: x + s.g * torch.ones_like(x[:, :1]),
        lambda s, x: x.kthvalue(2, dim=1)[0].unsqueeze(1),
        lambda s, x: F.pad(x, (0, -x.shape[3] % 14))[..., : x.shape[3]],
    ],
)
def test_local_nets_are_not_refused(function):
    a = oc.analyze(Net(function, g=nn.Parameter(torch.ones(1))), (1, 3, 16, 24))
    assert a.blocking_free, a.obstacles
