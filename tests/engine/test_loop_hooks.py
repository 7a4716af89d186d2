"""Hooks of a loop: what they return is what the input holds, or it is refused."""

from __future__ import annotations

import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import overlapcalc as oc


class Left(nn.Module):
    """Each column: the one before, plus one; of an input of any type."""

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x.float(), (1, -1)) + 1


def run(hook: oc.Hook, kind: torch.dtype, columns: int = 4) -> Tensor:
    return oc.Loop(Left(), [oc.Stage(("output",), hook, feeds="x")], torch.zeros(1, 1, 2, columns, dtype=kind)).run()[
        "x"
    ]


def full(value: float, kind: torch.dtype) -> oc.Hook:
    return lambda cells: torch.full_like(cells["output"], value, dtype=kind)


@pytest.mark.parametrize(
    ("kind", "value", "made"),
    [
        (torch.uint8, 300, torch.int64),
        (torch.uint8, -1, torch.int64),
        (torch.uint8, 256, torch.int16),
        (torch.int8, 128, torch.uint8),
        (torch.int32, 2**40, torch.int64),
        (torch.int32, -(2**31) - 1, torch.int64),
        (torch.float32, 1e300, torch.float64),
        (torch.float32, -1e39, torch.float64),
        (torch.float16, 65536, torch.float32),
        (torch.float32, 2**24 + 1, torch.int64),
        (torch.float32, float("nan"), torch.float32),
        (torch.float32, float("nan"), torch.float64),
    ],
)
def test_numbers_that_an_input_does_not_hold(kind, value, made):
    """The first step makes the first column, of two cells."""
    with pytest.raises(oc.InputError, match=r"hook of x returned \S+ at step 0, for the cells at \(0, 0\), \(1, 0\); "):
        run(full(value, made), kind)


@pytest.mark.parametrize(
    ("kind", "value", "made"),
    [
        (torch.uint8, 255, torch.int64),
        (torch.uint8, 0, torch.int8),
        (torch.int32, -(2**31), torch.int64),
        (torch.int64, 2**40, torch.int64),
        (torch.float32, 2**24, torch.int64),
        (torch.float32, 3.4e38, torch.float64),
        (torch.float32, float("inf"), torch.float64),
        (torch.float32, 0.1, torch.float64),
    ],
)
def test_numbers_that_it_holds(kind, value, made):
    """Of 0.1 float32 keeps fewer digits, which is what the type is for."""
    found = run(full(value, made), kind)
    assert found.dtype == kind
    assert torch.equal(found, torch.tensor(value, dtype=made).to(kind).expand_as(found))


def test_the_cells_are_those_that_do_not_fit():
    """Columns count up; the third cell of the lower row alone is out of range."""

    def count(cells: oc.Cells) -> Tensor:
        made = cells["output"].to(torch.int64)
        for k, place in enumerate(cells.places):
            if place == (1, 2):
                made[k] = 999
        return made

    with pytest.raises(oc.InputError, match=r"returned 999 at step 2, for the cell at \(1, 2\); .*torch\.uint8"):
        run(count, torch.uint8)


def test_what_a_hook_raises_passes_through():
    def fails(cells: oc.Cells) -> Tensor:
        if cells.step == 3:
            raise ZeroDivisionError("of the user")
        return cells["output"]

    with pytest.raises(ZeroDivisionError, match="of the user") as caught:
        run(fails, torch.float32, columns=5)
    if sys.version_info >= (3, 11):
        (note,) = caught.value.__notes__
        assert note == "in the hook of x, at step 3, for the cells at (0, 3), (1, 3); it was given output"


# ---- what else a caller may get wrong -----------------------------------------------------------------------------


def stage(feeds: object = "x", outputs: object = ("output",)) -> oc.Stage:
    return oc.Stage(outputs, lambda cells: cells["output"], feeds=feeds)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("net", "stages", "said"),
    [
        (None, [stage()], "net: expected a torch.nn.Module"),
        (Left(), None, "stages: expected a list of Stage"),
        (Left(), "x", "stages='x': expected a list of Stage"),
        (Left(), [stage(feeds=0)], "a stage feeds 0; expected the name of an input: x"),
        (Left(), [stage(outputs=0)], "outputs is 0; expected names"),
        (nn.Conv2d(1, 1, 3, padding=1), [stage("input")], "cells wait for each other"),
    ],
)
def test_what_is_refused_when_a_loop_is_made(net, stages, said):
    with pytest.raises(oc.InputError, match=said):
        oc.Loop(net, stages, (1, 1, 2, 4))


@pytest.mark.parametrize("dtype", ["float64", torch.float64, torch.float16, torch.int64, "wide"])
def test_a_run_in_another_type_than_the_weights(dtype):
    net = nn.Sequential(nn.ZeroPad2d((1, -1, 0, 0)), nn.Conv2d(1, 1, 1))
    loop = oc.Loop(net, [stage("input")], (1, 1, 2, 4))
    with pytest.raises(
        oc.InputError, match=r"dtype=.*(weights are torch\.float32; convert the net|expected a floating)"
    ):
        loop.run(dtype=dtype)
    assert torch.equal(loop.run(dtype="float32")["input"], loop.run()["input"])
    net.double()
    assert loop.run(dtype="float64")["input"].dtype == torch.float64


class Sided(nn.Module):
    def forward(self, side: Tensor, x: Tensor, more: Tensor) -> Tensor:
        return F.pad(x, (1, -1)) + side - 2 * more


def test_inputs_by_name():
    loop = oc.Loop(Sided(), [stage()], *[(1, 1, 2, 4)] * 3)
    side, more = torch.rand(2, 1, 1, 2, 4)
    found = loop.run(side, more)["x"]
    assert torch.equal(loop.run(more=more, side=side)["x"], found)
    assert torch.equal(loop.run(side, more=more)["x"], found)
    assert not torch.equal(loop.run(more, side)["x"], found)
    for given, named, said in (
        ((side,), {"side": more}, "input 'side' is given already"),
        ((), {"more": more}, "side is missing; a run takes side, more"),
        ((side, more), {"x": more}, "input 'x' is not one of side, more"),
    ):
        with pytest.raises(oc.InputError, match=said):
            loop.run(*given, **named)


def test_a_loop_says_what_it_is():
    assert (
        repr(oc.Loop(Sided(), [stage()], *[(1, 1, 2, 4)] * 3))
        == "Loop(Sided, feeds x, 2x4 cells along H and W, 4 steps)"
    )


def test_a_net_that_was_refused_is_refused_again():
    """The second run must not go by what was known before."""

    class Switched(Left):
        whole = False

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + (x.mean() if self.whole else 0)

    net = Switched()
    loop = oc.Loop(net, [stage()], (1, 1, 2, 4))
    loop.run()
    net.whole = True
    for _ in range(2):
        with pytest.raises(oc.ObstacleError, match="mean"):
            loop.run()
    net.whole = False
    assert loop.run()["x"][0, 0, 0].tolist() == [1.0, 2.0, 3.0, 4.0]
