"""Loops of nets whose samples know where they are: learned embeddings of positions, coordinates, patterns."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from shared.causal import naively
from shared.thorough import crossed
from torch import Tensor, nn

import overlapcalc as oc

ROWS, COLUMNS = 4, 6


def bounded(y: Tensor) -> Tensor:
    return torch.sin(3 * y) + 0.1


def before(x: Tensor) -> Tensor:
    """The row above and the column before."""
    return 0.7 * F.pad(x, (1, -1)) - 0.4 * F.pad(x, (0, 0, 1, -1))


class Positions(nn.Module):
    """Constants of random numbers, taken in by `way`."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        normal = torch.Generator().manual_seed(5)
        sizes = {
            "all": (1, 2, ROWS, COLUMNS),
            "rows": (ROWS, 1),
            "columns": (COLUMNS,),
            "beside": (1, 2, ROWS, COLUMNS),
            "behind": (1, 2, ROWS, 2),
            "pattern": (1, 2, ROWS, 2),
            "chosen": (ROWS, COLUMNS),
            "of blocks": (1, 8, ROWS // 2, COLUMNS // 2),
        }
        self.position = nn.Parameter(torch.randn(sizes[way], generator=normal))
        self.mix = nn.Conv2d(4 if way == "beside" else 2, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y, p = before(x), self.position
        if self.way == "beside":
            y = torch.cat([y, p.expand(len(x), -1, -1, -1)], 1)
        elif self.way == "behind":  # learned columns in place of what lies beyond the border
            y = torch.cat([p.expand(len(x), -1, -1, -1), y[..., :-2]], 3)
        elif self.way == "pattern":
            y = y * p.repeat(1, 1, 1, COLUMNS // 2)
        elif self.way == "chosen":
            y = torch.where(p > 0, y, torch.tanh(y) + 1)
        elif self.way == "of blocks":  # cells of 2x2 samples
            y = F.pixel_unshuffle(x, 2)
            y = F.pixel_shuffle(torch.tanh(before(y)) + p, 2)
        else:
            y = y + p
        return self.mix(torch.tanh(y))


WAYS = ("all", "rows", "columns", "beside", "behind", "pattern", "chosen", "of blocks")


@pytest.mark.parametrize(("way", "images"), crossed(WAYS, [1, 2]))
def test_each_sample_is_made_with_the_constants_of_its_place(way, images):
    torch.manual_seed(4)
    net, shape = Positions(way).double().eval(), (images, 2, ROWS, COLUMNS)
    loop = oc.Loop(net, [oc.Stage(("output",), lambda cells: bounded(cells["output"]), feeds="x")],
                   torch.zeros(shape, dtype=torch.float64))  # fmt: skip
    cell = 2 if way == "of blocks" else 1
    assert loop.cells == (ROWS // cell, COLUMNS // cell)
    expected = naively(net, shape, [n // c for n, c in zip(shape[2:], loop.cells, strict=True)], bounded)
    for order in ("wavefront", "raster"):
        assert torch.allclose(loop.run(order=order)["x"], expected, atol=1e-12)
    assert oc.verify(loop).proved
    with torch.no_grad():
        net.position.copy_(net.position.flip(-2 if way == "rows" else -1))
    assert not torch.allclose(naively(net, shape, (cell, cell), bounded), expected, atol=1e-3)


def test_along_one_axis_and_across_another():
    """Whole rows at a time, each with an embedding of its row and of its columns."""
    position = torch.randn(1, 1, ROWS, COLUMNS, generator=torch.Generator().manual_seed(1)).double()

    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (F.pad(x, (0, 0, 1, -1)).flip(3) + position).softmax(3)

    shape = (1, 1, ROWS, COLUMNS)
    loop = oc.Loop(Net(), [oc.Stage(("output",), lambda cells: cells["output"], feeds="x")],
                   torch.zeros(shape).double(), axes="H")  # fmt: skip
    x = torch.zeros(shape).double()
    for row in range(ROWS):
        x[:, :, row] = Net()(x)[:, :, row]
    assert torch.allclose(loop.run()["x"], x, atol=1e-12)


def test_outside_of_loops_they_are_an_obstacle_still():
    assert not oc.analyze(Positions("all"), (1, 2, ROWS, COLUMNS)).blocking_free
