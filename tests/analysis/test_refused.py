"""Nets that depend on the size, on positions or on chance: refused by cause. And local nets that look like them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from shared.blockwise import Fn, conv
from torch import nn

import overlapcalc as oc


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
    ("ratio of the sides", Fn(lambda s, x: s.c(x) * (x.shape[3] / x.shape[2]), c=conv(3, 3)), "size-dependent"),
    ("square or not", Fn(lambda s, x: s.c(x) if x.shape[2] == x.shape[3] else 2 * s.c(x), c=conv(3, 3)), "size-dependent"),
    ("width for both", Fn(lambda s, x: F.interpolate(s.c(x), size=x.shape[3]), c=conv(3, 3)), "size-dependent"),
    ("difference", Fn(lambda s, x: s.c(x) * (1 + x.shape[3] - x.shape[2]), c=conv(3, 3)), "size-dependent"),
    ("parameter by size", Fn(lambda s, x: x * (s.g / x.shape[3]), g=nn.Parameter(torch.ones(3, 1, 1))), "size-dependent"),
    ("kernel by size", Fn(kernel_of_size), "size-dependent"),
    ("weight by size", Fn(lambda s, x: F.conv2d(x, s.w / x.shape[3]), w=nn.Parameter(torch.ones(3, 3, 1, 3))), "size-dependent"),
    ("stacked ramp", Fn(lambda s, x: torch.stack([x, ramp(x).expand_as(x)], 1).flatten(1, 2)), "absolute-position"),
    ("concatenated ramp", Fn(lambda s, x: torch.cat([x, ramp(x).expand_as(x)], 1)), "absolute-position"),
    ("written ramp", Fn(written_ramp, c=conv(3, 3)), "absolute-position"),
    ("ramp of matrices",
     Fn(lambda s, x: (x.permute(0, 3, 2, 1) @ (ramp(x)[:, None, None] * torch.eye(3).to(x))).permute(0, 3, 2, 1)),
     "absolute-position"),
    ("batch norm over columns", Fn(lambda s, x: s.b(x.transpose(1, 3)), b=nn.BatchNorm2d(24)), "absolute-position"),
    ("PReLU over columns", Fn(lambda s, x: s.a(x.transpose(1, 3)), a=nn.PReLU(24)), "absolute-position"),
    ("random channels", Fn(lambda s, x: torch.cat([x, torch.randn_like(x)], 1)), "random"),
    ("random offset", Fn(lambda s, x: x + torch.randn(1, 3, 1, 1)), "random"),
    ("random order", Fn(lambda s, x: x[:, torch.randperm(3)]), "random"),
    ("a count of calls", Counting(), "random"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "net", "cause"), REFUSED, ids=[r[0] for r in REFUSED])
def test_refused(name, net, cause):
    a = oc.analyze(net, (1, 3, 24, 24))
    assert not a.blocking_free
    assert cause in {o.cause for o in a.obstacles}


def test_branches_by_remainder_are_periodic():
    w = oc.analyze(Fn(lambda s, x: x if x.shape[3] % 3 == 0 else 2 * x), (1, 3, 10, 49))["W"]
    assert w.step % 3 == 0
    choice = nn.ModuleList(nn.Conv2d(3, 2, 3, padding=1) for _ in range(3))
    assert oc.analyze(Fn(lambda s, x: s.m[x.shape[3] % 3](x), m=choice), (1, 3, 10, 33))["W"].step % 3 == 0


@pytest.mark.parametrize(
    ("join", "shape"),
    [
        (lambda x, v: x * torch.sin(v[:, :, None, None] * ramp(x)), (1, 3)),
        (lambda x, v: x * v[:, None, None, :], (1, 22)),
    ],
)
def test_conditioning_that_carries_positions(join, shape):
    a = oc.analyze(Fn(lambda s, x, v: join(x, v)), [(1, 3, 24, 22), shape])
    assert "absolute-position" in {o.cause for o in a.obstacles}
    fine = oc.analyze(Fn(lambda s, x, v: x * v[:, :, None, None]), [(1, 3, 24, 22), (1, 3)])
    assert fine.blocking_free


def test_conditioning_that_is_drawn_at_random():
    net = Fn(lambda s, x, v: x * F.dropout(v, training=True)[:, :, None, None])
    a = oc.analyze(net, [(1, 3, 24, 22), (1, 3)])
    assert {o.cause for o in a.obstacles} == {"random"}


def test_masked_samples_are_never_called_exact():
    def every_other(s, x):
        return torch.where(torch.arange(x.shape[3]) % 2 == 0, s.c(x), x)

    assert not oc.analyze(Fn(every_other, c=conv(3, 3)), (1, 3, 8, 32))["W"].exact


def test_a_number_read_from_the_data_is_refused():
    with pytest.raises(oc.TraceError, match="item"):
        oc.analyze(Fn(lambda s, x: x * x.max().item()), (1, 3, 16, 24))


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
    a = oc.analyze(Fn(function, g=nn.Parameter(torch.ones(1))), (1, 3, 16, 24))
    assert a.blocking_free, a.obstacles
