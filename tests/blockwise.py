"""A net by every schedule, in small blocks, against the net itself. Imports no rule of overlapcalc."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import overlapcalc as oc

SCHEDULES = ("crop", "trim", "stream")


class Net(nn.Module):
    """`function(net, x)` with two convolutions at hand: `a` reads 1 to each side, `b` reads 2."""

    def __init__(self, function: Callable[..., Any], channels: int = 1) -> None:
        super().__init__()
        self.function = function
        self.a = nn.Conv2d(channels, channels, 3, padding=1)
        self.b = nn.Conv2d(channels, channels, 5, padding=2)

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self, x)


def made(function: Callable[..., Any], channels: int = 1, size: tuple[int, int] = (16, 24)) -> tuple[Net, torch.Tensor]:
    """The net in float64, and an image for it."""
    torch.manual_seed(0)
    net = Net(function, channels).double().eval()
    return net, torch.rand(1, channels, *size, dtype=torch.float64)


def contexts(net: nn.Module, x: torch.Tensor) -> dict[str, tuple[int, int]]:
    """Context before and after along each axis. Raises what `analyze` raises; the net must be free of obstacles."""
    a = oc.analyze(net, x)
    assert a.blocking_free, a.obstacles
    return {axis: (a[axis].context.before, a[axis].context.after) for axis in a.axes}


def errors(net: nn.Module, x: torch.Tensor) -> dict[str, float]:
    """By schedule, how far blocks of 5 are from the whole."""
    with torch.no_grad():
        whole = net(x.clone())
        runs = {schedule: oc.run(net, x.clone(), block=5, schedule=schedule) for schedule in SCHEDULES}
    assert all(y.shape == whole.shape for y in runs.values())
    return {schedule: float((y - whole).abs().max() / whole.abs().max()) for schedule, y in runs.items()}
