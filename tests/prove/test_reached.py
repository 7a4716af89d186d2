"""Proofs enter the branches of a net that plain inputs never enter, or say which they did not."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from rich.console import Console
from shared.blockwise import Fn
from shared.thorough import few
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.ops import Call
from overlapcalc.ops.law import Law, Link, keep
from overlapcalc.ops.registry import find, kept
from overlapcalc.prove import spread
from overlapcalc.report.verification import render_verification, verification_json, verification_junit

pytestmark = pytest.mark.usefixtures("traced_once")


def conv(kernel: int) -> nn.Module:
    torch.manual_seed(kernel)
    return nn.Conv2d(3, 3, kernel, padding=kernel // 2)


def rows(x: Tensor, step: float = 1.0) -> Tensor:
    """A ramp along H."""
    return torch.arange(x.shape[2], dtype=x.dtype)[None, None, :, None] * step


def _blind(call: Call) -> Law:
    links = tuple(Link(k, keep(len(shape))) for k, shape in enumerate(call.shapes))
    return Law(links, unread=frozenset(call.node.args))


@contextmanager
def blind(*ops: str) -> Iterator[None]:
    """Rules that do not look at constants: every sample of data is read where it stands, and that is all."""
    with kept():
        for op in ops:
            if find(op) is not None:
                oc.unregister(op)
            oc.rule(op)(_blind)
        yield


def levels_by_row(net, x):
    """Levels from 30 + 4 * row on, where the samples are a few units."""
    h = x.shape[2]
    b = rows(x, 4.0) + 30 + torch.linspace(0, 9, 4, dtype=x.dtype)
    return torch.searchsorted(b.expand(1, 3, h, 4).contiguous(), x).to(x.dtype)


def table_by_row(net, x):
    """A table with a row of its own for every row of the image, of which every sample takes the first entry."""
    h = x.shape[2]
    table = torch.where(torch.arange(10) > 0, torch.arange(h * 10).reshape(h, 10), 0).to(x.dtype)
    at = (x * 0.01).long().clamp(0, 9)
    return table[torch.arange(h)[None, None, :, None].expand_as(at), at] + x


BY_ROW = {
    "searchsorted": (["aten::searchsorted"], levels_by_row),
    "where": (["aten::gt"], lambda net, x: torch.where(x > rows(x) + 100, x * 2, x)),
    "clamp": (["aten::clamp"], lambda net, x: x.clamp(max=rows(x) + 100)),
    "maximum": (["aten::maximum"], lambda net, x: torch.maximum(x, rows(x) - 1000)),
    "table": (["aten::index"], table_by_row),
    "between": (["aten::gt", "aten::lt"], lambda net, x: x * ((x > rows(x) + 50) & (x < rows(x) + 60)).to(x.dtype)),
    "equal": (["aten::eq"], lambda net, x: torch.where(x.round() == rows(x) + 50, x * 2, x)),
    "division": (["aten::div"], lambda net, x: torch.div(x + 9, rows(x) + 100, rounding_mode="floor")),
}


@pytest.mark.parametrize("name", few(BY_ROW, ("where", "between")))
def test_a_constant_by_row_that_no_sample_meets_is_refuted(name, monkeypatch):
    ops, function = BY_ROW[name]
    with blind(*ops):
        v = oc.verify(Fn(function), (1, 3, 20, 6), axes="H")
        monkeypatch.setattr(spread, "SEEDS", ())  # as it would be without moving operands
        unmoved = oc.verify(Fn(function), (1, 3, 20, 6), axes="H")
    assert v["values"].status == "refuted"
    assert v["exact twin"].status == "refuted"
    assert unmoved["values"].status == "proved"
    assert "never came out" in str(unmoved.not_reached[0])


@torch.library.custom_op("overlapcalc_tests::far_if_large", mutates_args=())
def far_if_large(x: Tensor) -> Tensor:
    return torch.where(x > 20, x.roll(3, 2), x)


far_if_large.register_fake(torch.empty_like)


@pytest.mark.parametrize("schedule", ["crop", "stream"])
def test_a_branch_inside_an_operator_of_ones_own(schedule):
    with kept():
        oc.rule("overlapcalc_tests::far_if_large")(lambda call: call.identity())
        net = Fn(lambda net, x: torch.ops.overlapcalc_tests.far_if_large(net.a(x)), a=conv(3))
        v = oc.verify(net, (1, 3, 20, 24), axes="H", schedule=schedule)
    assert v["dependency"].status == v["values"].status == "refuted"


UNENTERED = [
    lambda net, x: torch.where(x > 100, net.b(x), net.a(x)),
    lambda net, x: torch.where(x > 100, torch.where(net.a(x) < -50, net.b(x), x), net.a(x)),
    lambda net, x: F.hardshrink(net.b(x) * 1e-3, 0.5),
    lambda net, x: F.relu(net.b(x) - 1000),
    lambda net, x: F.hardtanh(net.b(x), 200.0, 300.0) + net.a(x),
    lambda net, x: (net.b(x) * 1e-3).round() + net.a(x),
    lambda net, x: torch.bucketize(net.b(x), torch.linspace(400, 500, 7, dtype=x.dtype)).to(x.dtype),
    lambda net, x: torch.sigmoid(net.b(x) + 900),
    lambda net, x: x.masked_fill((net.b(x) > 70) & (x > 60) & (x < 80), 3.0),
]


@pytest.mark.parametrize(
    ("function", "schedule"), few([(f, "stream" if i % 3 == 0 else "crop") for i, f in enumerate(UNENTERED)], 4)
)
def test_branches_that_no_plain_input_enters_are_entered(function, schedule):
    """The 5 x 5 window stands in a branch that is never taken: it is read all the same, and none less would do."""
    v = oc.verify(Fn(function, a=conv(3), b=conv(5)), (1, 3, 20, 24), axes="H", schedule=schedule)
    assert v.proved, [(p.name, p.failures) for p in v.proofs]
    assert not v.not_reached
    assert v["minimality"].status == v["exact twin"].status == "proved"


class Embeds(nn.Module):
    def __init__(self, index):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.index = nn.Embedding(10, 3), index

    def forward(self, x: Tensor) -> Tensor:
        return self.table(self.index(x[:, 0])).permute(0, 3, 1, 2) * x


@pytest.mark.parametrize(
    "index",
    [
        lambda x: (x * 0.01).long().clamp(0, 9),  # always the first row
        lambda x: (x.sigmoid() * 9).long(),  # NaN points nowhere
        lambda x: (x * 100).long() % 10,
    ],
)
def test_tables_that_data_look_up(index):
    v = oc.verify(Embeds(index), (1, 3, 20, 24), axes="H")
    assert v.proved
    assert not v.not_reached
    assert v["exact twin"].status == "proved"


def test_one_sample_short_in_a_branch_that_is_not_entered():
    """Of tiles of the user's own: nothing of the window shows in plain values."""
    net = Fn(lambda net, x: torch.where(x > 100, net.b(x), x), b=conv(5))
    assert oc.verify(net, (1, 3, 40, 12), axes="H", block=8, tile=2).proved
    v = oc.verify(net, (1, 3, 40, 12), axes="H", block=8, tile=1)
    assert v["values"].status == v["exact twin"].status == v["poisoned borders"].status == "refuted"
    assert v.figures[0].error == 0


def test_what_was_not_reached_is_said():
    net = Fn(lambda net, x: torch.where(torch.sigmoid(x) * 0 > 1, net.a(x), x), a=conv(3))
    v = oc.verify(net, (1, 3, 20, 24), axes="H")
    (place,) = v.not_reached
    assert (place.op, place.missing) == ("aten::gt", "true")
    assert place.source.rpartition(":")[0] == __file__
    proved = {p.name: p.caveat for p in v.proofs if p.status == "proved"}
    assert proved.pop("exact twin") == ""
    assert set(proved.values()) == {"but for one branch that no sample entered"}
    assert json.loads(verification_json(v))["not_reached"][0]["missing"] == "true"
    assert "never came out as true" in verification_junit(v)
    console = Console(file=io.StringIO(), width=200)
    render_verification(v, console)
    text = console.file.getvalue()
    assert "not reached: net: aten::gt" in text
    assert "where no branch decides that was not reached" in text


def test_an_ordinary_net_is_not_moved(monkeypatch):
    monkeypatch.setattr(spread, "settled", None)  # would fail
    net = nn.Sequential(conv(3), nn.ReLU(), conv(3))
    v = oc.verify(net, (1, 3, 20, 24), axes="H")
    assert v.proved
    assert not v.not_reached
    assert all(not p.caveat for p in v.proofs)


def test_an_operand_that_overflows_is_left_alone():
    v = oc.verify(Fn(lambda net, x: net.a(x).clamp(max=1e30) ** 12, a=conv(3)), (1, 3, 20, 24), axes="H")
    assert v.proved
    assert [place.missing for place in v.not_reached] == ["above its bound"]


def test_a_threshold_that_float32_cannot_hold():
    v = oc.verify(Fn(lambda net, x: torch.where(x > 1e300, x, net.a(x)), a=conv(3)), (1, 3, 20, 24), axes="H")
    assert v.proved
    assert not v.not_reached


class Labelled(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.a = nn.Embedding(7, 3), conv(3)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return torch.where((labels == 5)[:, None], self.a(x), self.table(labels).permute(0, 3, 1, 2) * x)


def test_labels_that_are_all_the_same_are_no_samples():
    """Neither refuted, though nothing changes without one of them, nor taken for tried."""
    x, layout = torch.randn(1, 3, 20, 12), ["NCHW", "NHW"]
    v = oc.verify(Labelled(), [x, torch.zeros(1, 20, 12, dtype=torch.long)], axes="H", layout=layout)
    assert v.proved
    assert "not of labels, whose whole numbers are all the same" in v["minimality"].reason
    assert [place.op for place in v.not_reached] == ["aten::eq", "aten::embedding"]
    labels = torch.randint(7, (1, 20, 12), generator=torch.Generator().manual_seed(0))
    v = oc.verify(Labelled(), [x, labels], axes="H", layout=layout)
    assert v.proved
    assert not v.not_reached


def parity(x: Tensor) -> Tensor:
    """Bits of the samples: nets with them have no twin."""
    return (((x * 10).long() & 1) != 0).to(x.dtype)


def pooled(x: Tensor) -> Tensor:
    return F.avg_pool2d(x.nan_to_num(), 3, 1, 1)


HIDDEN_BEHIND = {
    "amax": lambda net, x: parity(x) + torch.stack([x + 1e5, pooled(x)], 1).amax(1),
    "max": lambda net, x: parity(x) + torch.stack([x + 1e5, pooled(x)], 1).max(1)[0],
    "softmax": lambda net, x: parity(x) + (torch.stack([x + 1e4, pooled(x)], 1).softmax(1) * torch.stack([x, pooled(x)], 1)).sum(1),
    "topk": lambda net, x: parity(x) + torch.stack([x + 1e3, pooled(x)], 1).topk(1, 1)[0][:, 0],
}  # fmt: skip
"""What is chosen is never the pooled samples, unless each choice is made to come out both ways."""


@pytest.mark.parametrize("name", few(HIDDEN_BEHIND, ("max",)))
def test_choices_come_out_both_ways(name):
    net = Fn(HIDDEN_BEHIND[name]).double().eval()
    right = oc.verify(net, (1, 3, 18, 20), block=9)
    assert right.proved
    assert not right.not_reached
    with blind("aten::avg_pool2d"):
        assert not oc.verify(net, (1, 3, 18, 20), block=9).proved
