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
