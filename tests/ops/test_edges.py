"""Padding that is spelled as a concatenation, and padding along an axis that is not cut."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from shared.blockwise import errors
from torch import Tensor, cat, nn
from torch.nn import functional as F

import overlapcalc as oc
from overlapcalc.testing import assert_reads, assert_same_by_blocks

pytestmark = pytest.mark.usefixtures("traced_once")

LINE, IMAGE, FRAMES = (1, 1, 40), (1, 2, 24, 20), (1, 1, 17, 10, 9)
Steps = Callable[[Tensor], Tensor]


class Net(nn.Module):
    """Something laid beside an image, and a convolution of three taps without padding."""

    def __init__(self, steps: Steps, shape: tuple[int, ...]) -> None:
        super().__init__()
        torch.manual_seed(0)
        kind = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}[len(shape)]
        self.steps, self.conv = steps, kind(shape[1], 1, 3, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(self.steps(x))
        return found


def causal(x: Tensor) -> Tensor:
    return cat([x[..., :1]] * 2 + [x], -1)


def both_ends(x: Tensor) -> Tensor:
    return cat([x[..., :1], x, x[..., -1:]], -1)


def repeated(x: Tensor) -> Tensor:
    return cat([x[..., :1].repeat(1, 1, 2), x], -1)


def expanded(x: Tensor) -> Tensor:
    return cat([x[..., :1].expand(-1, -1, 2), x, x.narrow(-1, x.shape[-1] - 1, 1).expand(-1, -1, 3)], -1)


def mirrored(x: Tensor) -> Tensor:
    return cat([x[..., 1:3].flip(-1), x, x[..., -3:-1].flip(-1)], -1)


def rows(x: Tensor) -> Tensor:
    return cat([x[:, :, :1], x, x[:, :, -1:]], 2)


def rows_and_columns(x: Tensor) -> Tensor:
    y = rows(x)
    return cat([y[..., :1], y, y[..., -1:]], 3)


def frames(x: Tensor) -> Tensor:
    return cat([x[:, :, :1].repeat(1, 1, 2, 1, 1), x], 2)


def channels(x: Tensor) -> Tensor:
    return cat([x[:, :1], x], 1)[:, :2]


def with_the_end_itself(x: Tensor) -> Tensor:
    return cat([x[..., 0:2].flip(-1), x], -1)


def symmetric(x: Tensor) -> Tensor:
    return cat([x.narrow(-1, 0, 3).flip(-1), x, x[..., -2:].flip(-1)], -1)


def symmetric_rows(x: Tensor) -> Tensor:
    return cat([x[:, :, :2].flip(2), x, x[:, :, -1:].flip(2)], 2)


def one_of_each(x: Tensor) -> Tensor:
    return cat([x[..., :1], x, x[..., -3:-1].flip(-1)], -1)


def two_kinds_of_mirrors(x: Tensor) -> Tensor:
    return cat([x[..., 1:3].flip(-1), x, x[..., -2:].flip(-1)], -1)


def a_mirror_and_zeros(x: Tensor) -> Tensor:
    return cat([x[..., :2].flip(-1), x, x.new_zeros(*x.shape[:-1], 2)], -1)


def zeros_beyond_both(x: Tensor) -> Tensor:
    y = cat([x[..., 1:2].flip(-1), x, x[..., -1:]], -1)
    return cat([torch.full_like(y[..., :1], 2.0), y, torch.ones_like(y[..., :1])], -1)


def all_at_once(x: Tensor) -> Tensor:
    far = torch.full_like(x[..., :1], 2.0)
    return cat([far, x[..., 1:2].flip(-1), x, x[..., -1:], far], -1)


def chained(x: Tensor) -> Tensor:
    none = (0, 0) * (x.dim() - 3)
    return F.pad(F.pad(F.pad(x, (2, 0, *none), mode="reflect"), (0, 1, *none), mode="replicate"), (0, 2), value=3.0)


LOCAL = [
    (causal, LINE, {"L": (2, 0)}),
    (both_ends, LINE, {"L": (1, 1)}),
    (repeated, LINE, {"L": (2, 0)}),
    (expanded, LINE, {"L": (2, 0)}),
    (mirrored, LINE, {"L": (2, 0)}),
    (rows, IMAGE, {"H": (1, 1), "W": (0, 2)}),
    (rows_and_columns, IMAGE, {"H": (1, 1), "W": (1, 1)}),
    (frames, FRAMES, {"D": (2, 0), "H": (0, 2), "W": (0, 2)}),
    (channels, IMAGE, {"H": (0, 2), "W": (0, 2)}),
    (with_the_end_itself, LINE, {"L": (2, 0)}),
    (symmetric, LINE, {"L": (3, -1)}),
    (symmetric_rows, IMAGE, {"H": (2, 0), "W": (0, 2)}),
    (one_of_each, LINE, {"L": (1, 1)}),
    (two_kinds_of_mirrors, LINE, {"L": (2, 0)}),
    (a_mirror_and_zeros, LINE, {"L": (2, 0)}),
    (zeros_beyond_both, LINE, {"L": (2, 0)}),
    (all_at_once, LINE, {"L": (2, 0)}),
    (chained, LINE, {"L": (2, 0)}),
]
"""Steps, and context by axis: output o reads the samples o to o + 2 of what was laid together."""


@pytest.mark.parametrize(("steps", "shape", "wanted"), LOCAL)
def test_ends_laid_beside_are_padding(steps: Steps, shape: tuple[int, ...], wanted: dict[str, tuple[int, int]]) -> None:
    net, x = Net(steps, shape).eval(), torch.randn(shape, dtype=torch.float64)
    found = oc.analyze(net, x)
    assert found.blocking_free
    assert {axis: found[axis].context for axis in found.axes} == {a: oc.Sides(*sides) for a, sides in wanted.items()}
    assert max(errors(net, x).values()) <= 1e-12


@pytest.mark.parametrize(
    "steps", [symmetric, one_of_each, two_kinds_of_mirrors, a_mirror_and_zeros, all_at_once, chained]
)
def test_what_is_read_at_both_ends(steps: Steps) -> None:
    net = Net(steps, LINE)
    x = torch.rand(LINE, dtype=torch.float64)[..., :20]
    assert_reads(net, x)
    assert_same_by_blocks(net, x, block=6, schedule="trim")


def the_second(x: Tensor) -> Tensor:
    return cat([x[..., 1:2], x], -1)


def one_too_far(x: Tensor) -> Tensor:
    return cat([x[..., 2:4].flip(-1), x], -1)


def mirrored_across(x: Tensor) -> Tensor:
    return cat([x[..., -2:].flip(-1), x, x[..., :2].flip(-1)], -1)


def a_constant_between(x: Tensor) -> Tensor:
    return cat([x[..., :2].flip(-1), x.new_zeros(*x.shape[:-1], 1), x], -1)


def the_other_end(x: Tensor) -> Tensor:
    return cat([x[..., -1:], x], -1)


def around(x: Tensor) -> Tensor:
    return cat([x[..., -2:], x, x[..., :2]], -1)


def of_another(x: Tensor) -> Tensor:
    return cat([(x * 2)[..., :1], x], -1)


def read_elsewhere(x: Tensor) -> Tensor:
    return causal(x) * x[..., :1]


@pytest.mark.parametrize(
    "steps",
    [the_second, one_too_far, mirrored_across, a_constant_between, the_other_end, around, of_another, read_elsewhere],
)
def test_others_run_at_their_size(steps: Steps) -> None:
    net, x = Net(steps, LINE).eval(), torch.randn(LINE, dtype=torch.float64)
    whole = net(x)
    with pytest.raises(oc.ObstacleError):
        oc.run(net, x, schedule="crop", block=7)
    for schedule in ("trim", "stream", "passes"):
        torch.testing.assert_close(oc.run(net, x, schedule=schedule, block=7), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", ["replicate", "reflect", "circular", "constant"])
@pytest.mark.parametrize("axis", ["H", "W"])
def test_padding_along_what_is_not_cut(mode: str, axis: str) -> None:
    net = Net(lambda x: F.pad(x, (1, 1, 2, 1), mode=mode), IMAGE).eval()
    x = torch.randn(IMAGE, dtype=torch.float64)
    whole = net(x)
    for schedule in ("trim", "stream", "passes"):
        found = oc.run(net, x, schedule=schedule, block=7, axes=(axis,))
        torch.testing.assert_close(found, whole, rtol=0, atol=1e-12)
