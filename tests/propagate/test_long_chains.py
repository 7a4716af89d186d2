"""What comes beside tracing grows with the length of a chain, and no faster: counted in calls of functions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

import overlapcalc as oc
from overlapcalc.analysis.analyze import analyze_here
from overlapcalc.analysis.runs import running
from overlapcalc.propagate.forward import propagate


def calls(work: Callable[[], object]) -> int:
    """How many functions of Python it calls: no clock, so nothing else on the machine counts."""
    count = 0

    def seen(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def chain(layers: int, norms: bool) -> oc.Analysis:
    made: list[nn.Module] = []
    for i in range(layers):
        made += [nn.Conv2d(2 if i else 1, 2, 3, padding=1), nn.GroupNorm(1, 2) if norms else nn.ReLU()]
    return analyze_here(nn.Sequential(*made), (1, 1, 16, 16))


@pytest.mark.parametrize("norms", [False, True])
def test_four_times_as_many_layers_take_four_times_as_long(norms: bool) -> None:
    short, long = chain(10, norms), chain(40, norms)

    def ratio(work: Callable[[oc.Analysis], object]) -> float:
        return calls(lambda: work(long)) / calls(lambda: work(short))

    assert ratio(lambda a: propagate(a.variants.net.traced)) < 4.5
    assert norms or ratio(lambda a: a.layers) < 4.5  # a row names all obstacles that lie before it
    assert ratio(lambda a: running(a.variants.net, "H", a.obstacles, lambda _: False)) < 5
