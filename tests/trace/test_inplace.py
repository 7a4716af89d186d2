"""In-place operators: the analysis sees what was written, however the memory is shared."""

from __future__ import annotations

import random

import pytest
import torch
import torch.nn.functional as F
from shared.agreement import Outcome, _reads
from shared.nets import Do
from shared.oracle import Dependency
from shared.thorough import few
from torch import nn

import overlapcalc as oc
from overlapcalc.trace.functionalize import made_functional, without_dropout


def blur(x: torch.Tensor) -> torch.Tensor:
    return F.avg_pool1d(x, 3, 1, 1)


def chain(x):
    y = blur(x)
    z = y.relu_()
    w = z.add_(1)
    return y * 2 + w


def read_before(x):
    y = blur(x)
    old = blur(y)
    y.mul_(blur(blur(blur(x))))
    return old + 0 * y.shape[0]


def read_after(x):
    y = blur(x)
    y.mul_(blur(blur(blur(x))))
    return blur(y)


def through_a_view(x):
    y = blur(x)
    y[:, :1].mul_(blur(blur(blur(x)))[:, :1])
    return y


def through_a_view_taken_before(x):
    y = blur(x)
    part = y[:, :1]
    y.mul_(blur(blur(blur(x))))
    return part


def through_reshape(x):
    y = blur(x)
    same = y.reshape(y.shape)
    y.mul_(blur(blur(blur(x))))
    return same


def through_dropout(x):
    y = blur(x)
    same = F.dropout(y, 0.5, training=False)
    y.mul_(blur(blur(blur(x))))
    return same


def written_pieces(x):
    a, b = blur(torch.cat([x, x], 1)).chunk(2, 1)
    a.mul_(blur(blur(blur(x))))
    return a + b


def input_written(x):
    y = x.clone()
    y.mul_(blur(x))
    return y.mul_(blur(y))


def viewed_after(x):
    y = blur(x)
    y.add_(blur(blur(blur(x)))).relu_()
    a, b = y.split(1, 1)
    return a * 2 + blur(b) + y.flatten(1).view(y.shape)


def viewed_between(x):
    y = blur(x)
    y.add_(1)
    part = y[:, :1]
    y.mul_(blur(blur(blur(x))))
    return part + y


def first_written_through_a_view(x):
    y = blur(x)[:, :1]
    y.mul_(blur(blur(blur(x)))[:, :1])
    return y.view(y.shape)


FUNCTIONS = [chain, read_before, read_after, through_a_view, through_a_view_taken_before, through_reshape,
             through_dropout, written_pieces, input_written, viewed_after, viewed_between, first_written_through_a_view]  # fmt: skip


@pytest.mark.parametrize("function", few(FUNCTIONS, 5), ids=lambda f: f.__name__)
def test_as_written(function):
    net = Do("", function)
    x = torch.rand(1, 2, 41, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1
    w = oc.analyze(net, x)["L"]
    assert w.exact
    outcome = Outcome()
    _reads(outcome, w, Dependency(net, x, 2), random.Random(1), short=False)
    assert outcome.wrong == []


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.skipif(torch.__version__ < "2.6", reason="torch.export rewrites in-place operators itself")
def test_what_is_rewritten_still_computes_the_same(function):
    """The rewritten program against the net itself; a program that is not rewritten stays as it was."""
    x = torch.rand(1, 2, 41, dtype=torch.float64)
    program = torch.export.export(Do("", function), (x,), strict=False)
    without_dropout(program.graph)
    before = str(program.graph)
    if not made_functional(program.graph):
        assert str(program.graph) == before
        return
    assert not any("_." in str(node.target) for node in program.graph.nodes)
    program.graph_module.recompile()
    assert torch.equal(program.module()(x.clone()), function(x.clone()))


@pytest.mark.skipif(torch.__version__ < "2.6", reason="torch.export rewrites in-place operators itself")
@pytest.mark.parametrize(("function", "rewritten"), [(viewed_after, True), (viewed_between, False)])
def test_views_of_what_is_written_in_the_end_do_no_harm(function, rewritten):
    program = torch.export.export(Do("", function), (torch.rand(1, 2, 41),), strict=False)
    assert made_functional(program.graph) == rewritten


@pytest.mark.skipif(torch.__version__ < "2.6", reason="torch.export rewrites in-place operators itself")
def test_the_usual_net_is_rewritten():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True), nn.Hardtanh(inplace=True))
    program = torch.export.export(net.eval(), (torch.rand(1, 1, 8, 8),), strict=False)
    assert any("relu_" in str(node.target) for node in program.graph.nodes)
    assert made_functional(program.graph)
    assert not any("_." in str(node.target) for node in program.graph.nodes)
