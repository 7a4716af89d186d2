"""Operators that are given functions: loops, branches, scans. They are refused by name and place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._higher_order_ops.map import map as mapped
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.while_loop import while_loop

import overlapcalc as oc


class Net(nn.Module):
    def __init__(self, steps: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.steps = nn.Conv1d(2, 2, 3, padding=1), steps

    def forward(self, x: Tensor) -> Any:
        return self.steps(self.conv, x)


REFUSED: dict[str, Callable[[nn.Module, Tensor], Any]] = {
    "while_loop": lambda f, x: while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, f(y)), (torch.tensor(0), x))[1],
    "cond": lambda f, x: torch.cond(x.sum() > 0, lambda y: f(y), lambda y: y * 2, (x,)),
    "scan": lambda f, x: scan(lambda c, y: (c * 0.5 + y, c + y), torch.zeros(1, 2), f(x), dim=2)[1],
    "map_impl": lambda f, x: mapped(lambda y: f(y[None])[0], x),
}


@pytest.mark.parametrize("name", REFUSED)
def test_they_are_refused_by_name_and_place(name: str) -> None:
    with pytest.raises(oc.UnknownOperatorError) as refused:
        oc.analyze(Net(REFUSED[name]), (1, 2, 16))
    said = str(refused.value)
    assert f"higher_order::{name} in " in said
    assert "test_functions_of_functions.py:" in said
    assert "write them as plain Python" in said
    assert "overlapcalc.rule(NAME)" not in said


def test_a_branch_that_a_size_decides_is_no_branch() -> None:
    net = Net(lambda f, x: torch.cond(x.shape[2] > 4, lambda y: f(y), lambda y: y * 2, (x,)))
    assert oc.analyze(net, (1, 2, 16))["L"].context == oc.Sides(1, 1)
