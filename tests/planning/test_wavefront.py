"""The order of cells that read one another: known codecs, borders, and random cones against the longest path."""

from __future__ import annotations

import random
from functools import cache
from itertools import product

import networkx as nx
import pytest
import torch
import torch.nn.functional as F
from shared.thorough import few
from torch import Tensor, nn

import overlapcalc as oc


class Taps(nn.Module):
    """A convolution that reads just these offsets, in two axes or three; zeros, copies or mirror images beyond the ends."""

    def __init__(self, taps: list[tuple[int, ...]], mode: str = "constant") -> None:
        super().__init__()
        self.reach = max(abs(i) for tap in taps for i in tap)
        n = len(taps[0])
        mask = torch.zeros(*(2 * self.reach + 1,) * n)
        for tap in taps:
            mask[tuple(i + self.reach for i in tap)] = 1
        self.register_buffer("mask", mask)
        self.weight = nn.Parameter(torch.rand(1, 1, *mask.shape) + 0.5)
        self.n, self.mode = n, mode

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, [self.reach] * (2 * self.n), self.mode)
        return (F.conv2d if self.n == 2 else F.conv3d)(padded, self.weight * self.mask)


def front(taps: list[tuple[int, ...]], mode: str = "constant") -> oc.Wavefront:
    shape = (1, 1, *(12,) * len(taps[0]))
    return oc.wavefront(oc.analyze(Taps(taps, mode), shape).cone())


SMALL = [(-1, -1), (-1, 0), (-1, 1), (0, -1)]
"""Kamisli's kernels 3111."""
WIDE = [*((-2, j) for j in range(-2, 3)), *((-1, j) for j in range(-2, 2)), (0, -2), (0, -1)]
"""Kernels 3311, blind at (-1, 2)."""


@pytest.mark.parametrize("taps", few([SMALL, WIDE], 1))
def test_kamislis_blocks(taps):
    """A front of skew 2 takes 2 (rows - 1) + columns steps: 222 for the blocks of 8x8 of 768x512, 1,018 at 4K."""
    found = front(taps)
    assert found.taps == tuple(taps)
    assert found.skew == 2
    assert found.steps((64, 96)) == 2 * 63 + 96 == 222
    assert found.steps((270, 480)) == 2 * 269 + 480 == 1018


def test_a_blind_spot_filled_makes_the_front_steeper():
    filled = front([*WIDE, (-1, 2)])
    assert filled.skew == 3
    assert filled.steps((64, 96)) == 3 * 63 + 96


def test_a_smaller_skew_would_read_what_is_not_made():
    """Values are made cell by cell in the order of a skew, and poisoned before: with 2 nothing is, with 1 something."""
    net = Taps(SMALL)
    rows, columns = 6, 9

    def run(skew: int) -> Tensor:
        x = torch.full((1, 1, rows, columns), torch.inf)
        for step in range(skew * (rows - 1) + columns):
            front = [(i, step - skew * i) for i in range(rows) if 0 <= step - skew * i < columns]
            y = made(x.nan_to_num(posinf=1e9))
            for i, j in front:
                x[0, 0, i, j] = y[0, 0, i, j]
        return x

    def made(x: Tensor) -> Tensor:
        with torch.no_grad():
            return net(x) * 0.1 + 1

    assert float(run(2).max()) < 100
    assert float(run(1).max()) > 1e6


def longest_path(taps: list[tuple[int, ...]], cells: tuple[int, ...]) -> dict[tuple[int, ...], int]:
    graph = nx.DiGraph()
    graph.add_nodes_from(product(*map(range, cells)))
    for cell in list(graph):
        for tap in taps:
            at = tuple(i + d for i, d in zip(cell, tap, strict=True))
            if at in graph:
                graph.add_edge(at, cell)
    times: dict[tuple[int, ...], int] = {}
    for cell in nx.topological_sort(graph):
        times[cell] = max((times[at] + 1 for at in graph.predecessors(cell)), default=0)
    return times


@cache
def drawn(seed: int) -> list[tuple[int, ...]]:
    draw = random.Random(seed)
    n = draw.choice((2, 2, 3))
    earlier = [tap for tap in product(range(-2, 3), repeat=n) if tap < (0,) * n]
    return sorted(draw.sample(earlier, draw.randint(1, 6)))


@pytest.mark.parametrize("seed", few(range(50), 20))
def test_no_order_is_shorter(seed):
    """Cones without taps in their own row, images of one column and three axes among them."""
    draw, taps = random.Random(seed), drawn(seed)
    found = front(taps)
    assert found.taps == tuple(taps)
    for _ in range(3):
        cells = tuple(draw.choice((1, 2, 3, 5, 7)) for _ in taps[0])
        times = longest_path(taps, cells)
        order = found.order(cells)
        assert dict(zip(product(*map(range, cells)), order.times, strict=True)) == times
        assert found.steps(cells) == max(times.values()) + 1
        assert sorted(cell for step in range(order.steps) for cell in found.at(step, cells)) == sorted(times)
        assert all(times[cell] == step for step in range(order.steps) for cell in found.at(step, cells))
    if found.skew is not None:
        s = found.skew
        assert all(s * row + column < 0 for row, column in taps)
        assert s == 0 or any((s - 1) * row + column >= 0 for row, column in taps)


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("replicate", r"at \(0, 0\) of 5x6 it reads itself"),  # (-1, 0) is (0, 0) there
        ("reflect", r"at \(0, 0\) of 5x6 it reads cell \(0, 1\), which is made later"),  # (0, -1) is (0, 1)
    ],
)
def test_padding_that_reads_what_is_not_made_yet_is_refused(mode, said):
    taps = [(-1, 0), (0, -1)]
    found = front(taps, mode)  # far from borders all is well
    with pytest.raises(oc.InputError, match=said):
        found.steps((5, 6))
    assert front(taps).steps((5, 6)) == 5 + 6 - 1


def test_cells_that_read_themselves_or_later_ones_are_refused_with_their_taps():
    with pytest.raises(oc.InputError, match=r"output reads x at \(0, 0\), \(1, -1\): its own cell and those after it"):
        front([(-1, 0), (0, 0), (1, -1)])
    with pytest.raises(oc.InputError, match="no cones"):
        oc.wavefront()
    cone = oc.analyze(Taps(SMALL), (1, 1, 12, 12)).cone()
    with pytest.raises(oc.InputError, match="expected one number for each of H, W"):
        oc.wavefront(cone).steps((3,))
    with pytest.raises(oc.InputError, match="there are 13 steps"):
        oc.wavefront(cone).at(13, (3, 9))
    with pytest.raises(oc.InputError, match="as large as what it is fed to"):
        oc.wavefront(oc.analyze(nn.Sequential(Taps(SMALL), nn.ZeroPad2d((0, 0, 0, -1))), (1, 1, 12, 12)).cone()).steps(
            (5, 5)
        )


def test_a_later_stage_may_read_its_own_cell():
    """The decoder of a block reads what was made of its own latent, and the reconstruction around it."""
    here = oc.analyze(nn.Conv2d(1, 1, 1), (1, 1, 12, 12)).cone()
    around = oc.analyze(Taps(SMALL), (1, 1, 12, 12)).cone()
    with pytest.raises(oc.InputError, match="its own cell"):
        oc.wavefront(around, here)
    both = oc.wavefront(around, within=[here])
    assert both.taps == tuple(SMALL)
    assert both.steps((64, 96)) == 222


def test_steps_of_nets_whose_cells_are_blocks():
    net = nn.Sequential(nn.PixelUnshuffle(8), nn.Conv2d(64, 4, (1, 2), padding=(0, 1)), nn.ZeroPad2d((0, -1, 0, 0)))
    shifted = nn.Sequential(net, nn.ZeroPad2d((1, -1, 0, 0)), nn.Conv2d(4, 64, 1), nn.PixelShuffle(8))
    cone = oc.analyze(shifted, (1, 1, 64, 64)).cone()
    assert cone.step == (8, 8)
    assert cone.taps == ((0, -2), (0, -1))
    assert oc.wavefront(cone).skew == 0
    assert oc.wavefront(cone).steps((7, 9)) == 9
