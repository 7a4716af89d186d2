"""What a cell reads over all axes at once: known codecs, borders, and random masked nets against differentiation."""

from __future__ import annotations

import random
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from shared.masked import masked_net, read_by
from shared.thorough import few
from torch import Tensor, nn

import overlapcalc as oc

CELLS = 14


class Causal(nn.Module):
    """Type A reads the rows above and what is left of the centre, type B the centre too."""

    def __init__(self, channels: int, out: int, kernel: int, kind: str, mode: str = "constant") -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(out, channels, kernel, kernel) + 0.5)
        mask = torch.zeros(kernel, kernel)
        mask[: kernel // 2] = 1
        mask[kernel // 2, : kernel // 2 + (kind == "B")] = 1
        self.register_buffer("mask", mask)
        self.sides, self.mode = [kernel // 2] * 4, mode

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, self.sides, self.mode), self.weight * self.mask)


def predictor(second: int) -> nn.Module:
    """Kamisli's n: its second kernel is 1x1 in "3111" and 3x3 in "3311"."""
    return nn.Sequential(
        Causal(3, 4, 3, "A"), nn.LeakyReLU(), Causal(4, 4, second, "B"), nn.LeakyReLU(), nn.Conv2d(4, 2, 1)
    )


ROW_ABOVE = ((-1, -1), (-1, 0), (-1, 1))


def test_kamislis_predictors():
    """As drawn in the paper's figures: 4 blocks, and 11 with a blind spot."""
    small = oc.analyze(predictor(1), (1, 3, 16, 16)).cone()
    assert small.taps == (*ROW_ABOVE, (0, -1))
    assert small.exact
    assert small.blind == ()
    wide = oc.analyze(predictor(3), (1, 3, 16, 16)).cone()
    above = [(-2, j) for j in range(-2, 3)] + [(-1, j) for j in range(-2, 2)]
    assert wide.taps == (*above, (0, -2), (0, -1))
    assert wide.blind == ((-1, 2),)
    assert wide.hull == (oc.Span(-2, 1), oc.Span(-2, 3))
    assert wide.exact
    assert wide.smaller
    assert sorted(at for box in wide.boxes for at in product(*(range(*s) for s in box))) == list(wide.taps)


def test_blocks_of_pixels_are_cells():
    net = nn.Sequential(nn.PixelUnshuffle(8), Causal(192, 4, 3, "A"), nn.Conv2d(4, 192, 1), nn.PixelShuffle(8))
    cone = oc.analyze(net, (1, 3, 64, 64)).cone()
    assert cone.step == cone.out_step == (8, 8)
    assert cone.taps == (*ROW_ABOVE, (0, -1))


def test_a_phase_of_a_cell_reads_less_than_the_cell():
    """Nearest upsampling, then a 2x2 window up and to the left: only the first phase leaves its own cell both ways."""
    net = nn.Sequential(nn.Upsample(scale_factor=2), nn.ZeroPad2d((1, 0, 1, 0)), nn.Conv2d(1, 1, 2))
    a = oc.analyze(net, (1, 1, 16, 16))
    assert a.cone().taps == ((-1, -1), (-1, 0), (0, -1), (0, 0))
    assert a.cone(phase=(0, 0)).taps == ((-1, -1), (-1, 0), (0, -1), (0, 0))
    assert a.cone(phase=(0, 1)).taps == ((-1, 0), (0, 0))
    assert a.cone(phase=(1, 1)).taps == ((0, 0),)
    assert a.cone(phase=(1, 1)).reads((2, 3), size=(16, 16)) == ((2, 3),)
    with pytest.raises(oc.InputError, match=r"phase=\(2, 0\): expected a sample of a cell of 2x2"):
        a.cone(phase=(2, 0))


@pytest.mark.parametrize(
    ("mode", "first_column"),
    [
        ("constant", ((2, 0), (2, 1))),
        ("replicate", ((2, 0), (2, 1), (3, 0))),  # itself
        ("reflect", ((2, 0), (2, 1), (3, 1))),  # what comes next
    ],
)
def test_a_border_may_read_what_the_interior_does_not(mode, first_column):
    cone = oc.analyze(Causal(1, 1, 3, "A", mode), (1, 1, 12, 12)).cone()
    assert cone.taps == (*ROW_ABOVE, (0, -1))
    assert cone.reads((3, 0), size=(12, 12)) == first_column
    assert cone.reads((3, 0), size=(7, 9)) == first_column
    assert cone.reads((3, 5)) == ((2, 4), (2, 5), (2, 6), (3, 4))
    with pytest.raises(oc.InputError, match="output has 12 cells along W"):
        cone.reads((3, 12), size=(12, 12))


def test_two_inputs_have_a_cone_each():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.past, self.here = Causal(2, 2, 3, "A"), nn.Conv2d(1, 2, 1)

        def forward(self, x: Tensor, seen: Tensor) -> Tensor:
            return self.here(x) + self.past(seen)

    a = oc.analyze(Two(), [(1, 1, 9, 9), (1, 2, 9, 9)])
    assert a.cone(input="x").taps == ((0, 0),)
    assert a.cone(input="seen").taps == (*ROW_ABOVE, (0, -1))
    with pytest.raises(oc.AmbiguousPair):
        a.cone()


def test_a_cone_of_too_many_products_is_a_bound_and_says_so(monkeypatch):
    """The box around it: 6 cells for the 4 that are read; the order is right, and not said to be the shortest."""
    monkeypatch.setattr("overlapcalc.propagate.joint.MOST_PRODUCTS", 1)
    beyond = nn.Sequential(Causal(1, 1, 3, "A"), nn.ZeroPad2d(0), nn.Conv2d(1, 1, 1))
    cone = oc.analyze(beyond, (1, 1, 12, 12)).cone()
    assert not cone.exact
    assert set(cone.taps) >= {*ROW_ABOVE, (0, -1)}
    assert len(cone.taps) == 6


def test_an_axis_with_an_obstacle_has_no_cone():
    with pytest.raises(oc.ObstacleError, match="instance_norm"):
        oc.analyze(nn.Sequential(nn.Conv2d(1, 1, 3), nn.InstanceNorm2d(1)), (1, 1, 12, 12)).cone()


def test_what_another_size_brings_is_refused_there():
    class Wide(nn.Module):
        def __init__(self, then) -> None:
            super().__init__()
            self.conv, self.then = Causal(1, 1, 3, "A"), then

        def forward(self, x: Tensor) -> Tensor:
            return self.then(self.conv(x)) if x.shape[3] > 40 else self.conv(x)

    cone = oc.analyze(Wide(lambda x: x - x.mean(3, keepdim=True)), (1, 1, 12, 24)).cone()
    assert cone.reads((3, 3), size=(12, 40)) == cone.reads((3, 3))
    with pytest.raises(oc.ObstacleError, match="mean"):
        cone.reads((3, 3), size=(12, 41))
    cone = oc.analyze(Wide(lambda x: x[..., ::2]), (1, 1, 12, 24)).cone()
    with pytest.raises(oc.InputError, match="at this size the cells of output along W are others"):
        cone.reads((3, 3), size=(12, 41))


def check_against_differentiation(seed: int) -> str:
    """Every corner, edge and some other cells of a random net. Gives what was compared; raises where it differs."""
    net, shape = masked_net(seed)
    try:
        y = net(torch.ones(*shape, dtype=torch.float64))
    except RuntimeError:
        return "does not run"
    if y.numel() == 0:
        return "empty"
    try:
        cone = oc.analyze(net, shape).cone()
    except oc.ObstacleError:
        return "obstacle"
    counts = [-(-n // out) for n, out in zip(y.shape[2:], cone.out_step, strict=True)]
    draw = random.Random(seed)
    ends = [sorted({0, 1, n // 2, n - 2, n - 1} & set(range(n))) for n in counts]
    cells = list(product(*ends))
    middle = tuple(n // 2 for n in counts)
    for cell in [middle, *draw.sample(cells, min(CELLS, len(cells)))]:
        truth = read_by(net, shape, cell, cone.step, cone.out_step)
        said = set(cone.reads(cell, size=shape[2:]))
        assert truth <= said, f"seed {seed} cell {cell}: reads {sorted(truth - said)}, which is not said\n{net} {shape}"
        if cone.exact:
            assert truth == said, f"seed {seed} cell {cell}: does not read {sorted(said - truth)}\n{net} {shape}"
    large = (*shape[:2], *(5 * n for n in shape[2:]))
    middle = tuple(5 * n // 2 for n in counts)
    truth, law = read_by(net, large, middle, cone.step, cone.out_step), set(cone.reads(middle))
    assert truth <= law, f"seed {seed}: the law lacks {sorted(truth - law)}\n{net} {shape}"
    if cone.exact:
        assert truth == law, f"seed {seed}: the law says {sorted(law - truth)} too\n{net} {shape}"
    return "exact" if cone.exact else "bound"


@pytest.mark.parametrize("first", few(range(0, 50, 10), 1))
def test_random_masked_nets(first):
    found = [check_against_differentiation(seed) for seed in range(first, first + 10)]
    assert found.count("exact") >= 6, found
