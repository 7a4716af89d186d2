"""Nets that turn the image over and back again are local."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from shared.blockwise import apart, errors, never_wrong
from shared.oracle import Dependency
from shared.thorough import few
from torch import Tensor, cat, nn
from torch.nn import functional as F

import overlapcalc as oc

pytestmark = pytest.mark.usefixtures("traced_once")

Steps = Callable[["Net", Tensor], Tensor]
LINE, ODD, IMAGE = (1, 2, 48), (1, 2, 45), (1, 2, 24, 16)


class Net(nn.Module):
    """Layers that are not their own mirror image."""

    def __init__(self, steps: Steps, shape: tuple[int, ...]) -> None:
        super().__init__()
        torch.manual_seed(0)
        flat = len(shape) == 3
        conv, back = (nn.Conv1d, nn.ConvTranspose1d) if flat else (nn.Conv2d, nn.ConvTranspose2d)
        self.steps = steps
        self.conv = conv(2, 2, 3, padding=1)
        self.wide = conv(2, 2, 5, padding=2, padding_mode="reflect")
        self.down, self.up = conv(2, 2, 4, stride=2, padding=1), back(2, 2, 3, stride=2, padding=1, output_padding=1)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.steps(self, x)


def behind(x: Tensor, k: int = 4) -> Tensor:
    """A window of k samples that ends at the sample itself."""
    return F.avg_pool1d(F.pad(x, (k - 1, 0)), k, stride=1)


def ahead(net: Net, x: Tensor) -> Tensor:
    return behind(x.flip(-1)).flip(-1)


def both_directions(net: Net, x: Tensor) -> Tensor:
    return cat([behind(x), behind(x.flip(2), 3).flip(2)], 1)


def pointwise(net: Net, x: Tensor) -> Tensor:
    return (net.conv(x).flip(-1) * 2).relu().flip(-1) + x


def never_alone(net: Net, x: Tensor) -> Tensor:
    y = x.flip(-1)
    return (net.wide(y) + behind(y)).flip(-1)


def down_and_up(net: Net, x: Tensor) -> Tensor:
    return net.up(behind(net.down(x.flip(-1)))).flip(-1)


def turned_below(net: Net, x: Tensor) -> Tensor:
    return net.up(behind(net.down(x).flip(-1)).flip(-1))


def four_times(net: Net, x: Tensor) -> Tensor:
    return behind(behind(x.flip(-1)).flip(-1), 2).flip(-1).flip(-1)


def padded(net: Net, x: Tensor) -> Tensor:
    y = F.pad(x.flip(-1), (3, 0), mode="replicate")
    return F.max_pool1d(y, 4, stride=1).flip(-1)


def cropped(net: Net, x: Tensor) -> Tensor:
    return F.pad(x.flip(-1)[..., 2:], (2, 0)).flip(-1)


def ensemble(net: Net, x: Tensor) -> Tensor:
    """What restorers call self-ensemble: the mean over an image and its mirror images."""
    ways = [[], [2], [3], [2, 3]]
    return torch.stack([net.conv(x.flip(w)).flip(w) for w in ways]).mean(0)


def weaker_at_the_end(net: Net, x: Tensor) -> Tensor:
    """A constant that is made for the size is another one near one end, which is the far one."""
    gains = torch.ones(x.shape[-1], dtype=x.dtype)
    gains[:3] = 0.25
    return F.avg_pool1d(x.flip(-1) * gains, 2, 2, 1).flip(-1)


def rows_alone(net: Net, x: Tensor) -> Tensor:
    return net.down(x.flip(-2)).flip(-2)


def of_nothing(net: Net, x: Tensor) -> Tensor:
    return net.conv(x.flip([]))


LOCAL = [
    (ahead, LINE, {"L": (0, 3)}),
    (both_directions, LINE, {"L": (3, 2)}),
    (pointwise, LINE, {"L": (1, 1)}),
    (never_alone, ODD, {"L": (2, 3)}),
    (down_and_up, LINE, None),
    (turned_below, LINE, None),
    (turned_below, (1, 2, 46), None),
    (four_times, LINE, {"L": (1, 3)}),
    (padded, ODD, {"L": (0, 3)}),
    (cropped, LINE, {"L": (0, 0)}),
    (weaker_at_the_end, LINE, None),
    (weaker_at_the_end, (1, 2, 46), None),
    (ensemble, IMAGE, {"H": (1, 1), "W": (1, 1)}),
    (rows_alone, IMAGE, None),
    (of_nothing, IMAGE, {"H": (1, 1), "W": (1, 1)}),
]


def example(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def name(case: object) -> str:
    return getattr(case, "__name__", "")


@pytest.mark.parametrize(("steps", "shape", "contexts"), LOCAL, ids=name)
def test_local_and_what_each_output_reads_is_what_brute_force_reads(
    steps: Steps, shape: tuple[int, ...], contexts: dict[str, tuple[int, int]] | None
) -> None:
    net = Net(steps, shape).eval()
    analysis = oc.analyze(net, shape)
    assert analysis.blocking_free
    assert analysis.size_verified
    x = example(shape)
    for dim, letter in enumerate(analysis.axes, 2):
        axis = analysis.pairs[0][letter]
        read = Dependency(net, x, dim)
        for o in range(read.out_size):
            found = axis.reads(o, o + 1, size=shape[dim])
            assert (None if found is None else tuple(found)) == read.hull(o, o + 1)
        if contexts is not None:
            assert axis.context == oc.Sides(*contexts[letter])


@pytest.mark.parametrize(
    ("steps", "shape"), few([case[:2] for case in LOCAL], (LOCAL[4][:2], LOCAL[10][:2], LOCAL[12][:2])), ids=name
)
def test_by_every_schedule(steps: Steps, shape: tuple[int, ...]) -> None:
    net, x = Net(steps, shape).eval(), example(shape)
    assert max(errors(net, x).values()) <= 1e-12
    assert apart(net(x), oc.run(net, x, block=8, schedule="passes")) <= 1e-12


@pytest.mark.parametrize(("steps", "shape"), few([case[:2] for case in LOCAL], (LOCAL[5][:2], LOCAL[8][:2])), ids=name)
def test_proved(steps: Steps, shape: tuple[int, ...]) -> None:
    for schedule in ("crop", "stream"):
        assert oc.verify(Net(steps, shape).eval(), shape, schedule=schedule, block=8).proved


def test_a_sample_less_is_refuted() -> None:
    proof = oc.verify(Net(ahead, LINE).eval(), LINE, block=8, tile=(0, 2))
    assert not proof.proved


# ---- what is not turned back ---------------------------------------------------------------------------------------


def once(net: Net, x: Tensor) -> Tensor:
    return behind(x.flip(-1))


def against_itself(net: Net, x: Tensor) -> Tensor:
    return x + net.conv(x).flip(-1)


def on_one_way(net: Net, x: Tensor) -> Tensor:
    y = x.flip(-1)
    return cat([y.flip(-1), y], 1)


def joined_between(net: Net, x: Tensor) -> Tensor:
    return (net.conv(x.flip(-1)) * x).flip(-1)


def with_a_ramp(net: Net, x: Tensor) -> Tensor:
    return (x.flip(-1) * torch.arange(x.shape[-1])).flip(-1)


def with_a_summed_past(net: Net, x: Tensor) -> Tensor:
    return x.flip(-1).cumsum(-1).flip(-1)


def moved_on(net: Net, x: Tensor) -> Tensor:
    return x.flip(-1).roll(2, -1).flip(-1)


def rows_for_columns(net: Net, x: Tensor) -> Tensor:
    return x.flip(2).transpose(2, 3).flip(2)


REFUSED = [once, against_itself, on_one_way, joined_between, with_a_ramp, with_a_summed_past, moved_on]


@pytest.mark.parametrize("steps", REFUSED)
def test_refused_by_name_and_run_exactly_by_passes(steps: Steps) -> None:
    net = Net(steps, LINE).eval()
    analysis = oc.analyze(net, LINE)
    assert not analysis.blocking_free
    assert {o.op.partition("::")[2] for o in analysis.obstacles} & {"flip", "mul", "cumsum", "roll"}
    x = example(LINE)
    assert apart(net(x), oc.run(net, x, block=8, schedule="passes")) <= 1e-12


def in_windows(net: Net, x: Tensor) -> Tensor:
    return x.flip(-1).unflatten(-1, (-1, 4)).cumsum(-1).flatten(-2).flip(-1)


def flipped_in_windows(net: Net, x: Tensor) -> Tensor:
    return x.unflatten(-1, (-1, 4)).flip(-1).flatten(-2)


def windows_flipped(net: Net, x: Tensor) -> Tensor:
    return net.conv(x.flip(-1).unflatten(-1, (-1, 4)).flip(-2).flatten(-2))


def periodic(net: Net, x: Tensor) -> Tensor:
    return (behind(x.flip(-1)) * torch.tensor([1.0, 2.0, 3.0]).repeat(x.shape[-1] // 3)).flip(-1)


@pytest.mark.parametrize("steps", [in_windows, flipped_in_windows, windows_flipped, periodic, rows_for_columns])
def test_never_wrong(steps: Steps) -> None:
    shape = IMAGE if steps is rows_for_columns else LINE
    never_wrong(Net(steps, shape), shape)


@pytest.mark.parametrize("seed", few(range(40), 6))
def test_random_nets_with_pairs_of_flips_are_never_wrong_and_mostly_local(seed: int) -> None:
    draw = random.Random(seed)
    size = draw.choice([40, 44, 45, 47])

    def steps(net: Net, x: Tensor) -> Tensor:
        turned = False
        for _ in range(draw_.randrange(3, 8)):
            kind = draw_.choice(["flip", "behind", "wide", "conv", "down", "skip"])
            if kind == "flip":
                x, turned = x.flip(-1), not turned
            elif kind == "down":
                y = net.up(net.down(x))
                x = y[..., : x.shape[-1]] if y.shape[-1] >= x.shape[-1] else F.pad(y, (0, x.shape[-1] - y.shape[-1]))
            elif kind == "skip":
                x = x + net.conv(x.flip(-1)).flip(-1)
            else:
                x = {"behind": behind, "wide": net.wide, "conv": net.conv}[kind](x)
        return x.flip(-1) if turned else x

    state = draw.getstate()

    def again(net: Net, x: Tensor) -> Tensor:
        draw_.setstate(state)
        return steps(net, x)

    draw_ = random.Random()
    assert never_wrong(Net(again, (1, 2, size)), (1, 2, size)) == "L"
