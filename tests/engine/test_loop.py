"""Loops: nets that are fed their own outputs, against the whole net run again for every cell."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import overlapcalc as oc
from tests.shared.causal import causal_net, naively


def bounded(y: Tensor) -> Tensor:
    return torch.sin(3 * y) + 0.1


def looped(net: nn.Module, shape: tuple[int, ...]) -> oc.Loop:
    name = "input" if isinstance(net, nn.Sequential) else "x"
    stage = oc.Stage(("output",), lambda cells: bounded(cells["output"]), feeds=name)
    return oc.Loop(net, [stage], torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize("seed", range(40))
def test_random_nets(seed):
    """One, two and three axes; strides, transposed convolutions, shuffles, pads, pools, groups; several images."""
    net, shape = causal_net(seed)
    loop = looped(net, shape)
    cell = [size // count for size, count in zip(shape[2:], loop.cells, strict=True)]
    expected = naively(net, shape, cell, bounded)
    for order in ("wavefront", "raster"):
        found = loop.run(order=order)[loop.fed[0]]
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-9)
