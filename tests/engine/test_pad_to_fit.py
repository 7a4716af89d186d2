"""Images that the net does not take, padded until it does: by definition crop(net(pad(x))), which is run here by torch.

Weights and images are whole numbers, so that sums are exact in whatever order they are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.engine.padded import Padded, padded

pytestmark = pytest.mark.usefixtures("traced_once")
MODES = ("constant", "replicate", "reflect", "circular")


def whole_numbers(net: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for p in net.parameters():
        p.data = torch.randint(-2, 3, p.shape).double()
        p.requires_grad_(False)
    return net.double().eval()


def image(*shape: int) -> Tensor:
    return torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(1)).double()


class Skips(nn.Module):
    """Down twice and up again, with skips: multiples of 4."""

    def __init__(self, n: int = 2) -> None:
        super().__init__()
        conv, up = (nn.Conv1d, nn.ConvTranspose1d) if n == 1 else (nn.Conv2d, nn.ConvTranspose2d)
        self.pool: Any = F.max_pool1d if n == 1 else F.max_pool2d
        self.a, self.b, self.up = conv(1, 2, 3, padding=1), conv(2, 2, 3, padding=1), up(2, 2, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        b = self.b(self.pool(a, 2)).relu()
        c = self.b(self.pool(b, 2))
        return a + self.up(b + self.up(c))  # type: ignore[no-any-return]


class TwoScales(nn.Module):
    """A quarter of the size, and its double; without padding, two samples are lost at the quarter."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.up = nn.Conv2d(16, 2, (3, 1)), nn.ConvTranspose2d(2, 1, 2, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        small = self.a(F.pixel_unshuffle(x, 4))
        return small, self.up(small)


def smallest(net: nn.Module, *shape: int) -> tuple[int, ...]:
    """The least size at which torch runs the net."""

    def runs(*sizes: int) -> bool:
        try:
            net(torch.zeros(1, 1, *sizes, dtype=torch.float64))
        except RuntimeError:
            return False
        return True

    return next((h, w) for h in range(shape[0], 400) for w in range(shape[1], shape[1] + 20) if runs(h, w))


@pytest.mark.parametrize("mode", MODES)
def test_the_result_is_that_of_the_padded_image_cut(mode: str) -> None:
    net, x = whole_numbers(Skips()), image(1, 1, 29, 18)
    h, w = smallest(net, 29, 18)
    assert (h, w) == (32, 20)
    wanted = net(F.pad(x, (0, w - 18, 0, h - 29), mode=mode))[..., :29, :18]
    ways: list[dict[str, Any]] = [{"schedule": "stream", "block": 3}]
    if mode == "reflect":
        ways += [{"block": 8}, {"schedule": "trim", "block": 7}, {"fixed_tile": (32, 20)}]
        ways += [{"schedule": "passes", "block": 5, "stream_axis": "W"}]
    for options in ways:
        made, out = oc.tiled(net, pad_to_fit=mode, **options), np.zeros(wanted.shape)
        got = made(x)
        assert got.is_contiguous()
        assert torch.equal(got, wanted), options
        made(x.numpy(), out=out)
        assert np.array_equal(out, wanted.numpy()), options


def test_blocks_cover_what_is_kept_once() -> None:
    net, x = whole_numbers(Skips()), image(1, 1, 29, 17)
    found = torch.zeros(1, 2, 29, 17)
    for block in oc.blocks(net, x, pad_to_fit="replicate", block=(32, 4)):
        h, w = (block.regions["output"][axis] for axis in "HW")
        assert block.results["output"].shape[2:] == (h.length, w.length)
        found[:, :, h.start : h.stop, w.start : w.stop] += 1
    assert bool((found == 1).all())


@pytest.mark.parametrize("size", [29, 30, 31, 32])
def test_outputs_of_other_scales_are_rounded_up(size: int) -> None:
    """The net takes 32 here: of 6 and 12 output samples, padding / 4 and padding / 2 are cut off, rounded down."""
    net, x = whole_numbers(TwoScales()), image(1, 1, size, 8)
    more = 32 - size
    small, large = net(F.pad(x, (0, 0, 0, more)))
    got = oc.run(net, x, pad_to_fit="constant", schedule="stream", block=4)
    assert torch.equal(got[0], small[:, :, : 6 - more // 4])
    assert torch.equal(got[1], large[:, :, : 12 - more // 2])
    plan = oc.plan(net, x.shape, pad_to_fit="constant")
    assert plan.results == {"output0": tuple(got[0].shape), "output1": tuple(got[1].shape)}
    assert plan.padding is not None
    assert plan.padding.rounded == {"output0": ("H",) if more % 4 else (), "output1": ("H",) if more % 2 else ()}
    assert ("rounded up: output0 along H" in str(plan.padding)) == bool(more)


def test_what_fits_is_not_padded() -> None:
    net, x = whole_numbers(Skips()), image(1, 1, 16, 20)
    plan = oc.plan(net, x.shape, pad_to_fit="reflect")
    assert plan.padding is not None
    assert plan.to_dict()["padding"] == {
        "mode": "reflect",
        "any": False,
        "inputs": {"x": {"given": [1, 1, 16, 20], "padded": [1, 1, 16, 20]}},
        "outputs": {
            "output": {"made": [1, 2, 16, 20], "kept": [1, 2, 16, 20], "rounded_up": [], "own": [1, 2, 16, 20]}
        },
    }
    assert (plan.padding.any, plan.inputs, plan.results) == (False, {"x": x.shape}, plan.outputs)
    assert "nothing is padded (reflect)" in str(plan.padding)
    assert torch.equal(oc.run(net, x, pad_to_fit="reflect"), net(x))
    assert oc.plan(net, x.shape).padding is None


def test_several_inputs_are_padded_so_that_they_agree() -> None:
    class Guided(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(1, 1, 3, padding=1)

        def forward(self, level: Tensor, half: Tensor, x: Tensor) -> Tensor:
            small = self.conv(F.max_pool1d(x, 4)).repeat_interleave(2, 2) + half
            return x * level + small.repeat_interleave(2, 2)

    net = whole_numbers(Guided())
    level, half, x = image(1, 1, 1), image(1, 1, 11), image(1, 1, 21)
    wanted = net(level, F.pad(half, (0, 1), mode="replicate"), F.pad(x, (0, 3), mode="replicate"))[..., :21]
    for schedule in ("crop", "stream"):
        assert torch.equal(oc.run(net, level, half, x, pad_to_fit="replicate", schedule=schedule, block=8), wanted)
    with pytest.raises(oc.InputError, match="every input has one sample along L"):
        oc.plan(net, [(1, 1, 1), (1, 1, 1), (1, 1, 1)], pad_to_fit="replicate")


def test_a_net_that_looks_at_the_whole_image_and_a_batch() -> None:
    net = whole_numbers(nn.Sequential(nn.PixelUnshuffle(2), nn.GroupNorm(2, 4), nn.PixelShuffle(2)))
    x = image(2, 1, 13, 9)
    wanted = net(F.pad(x, (0, 1, 0, 1), mode="circular"))[..., :13, :9]
    got = oc.run(net, x, pad_to_fit="circular", block=4)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)
    out = np.zeros(wanted.shape)
    oc.run(net, x.numpy(), out=out, pad_to_fit="circular", schedule="passes", block=4)
    torch.testing.assert_close(torch.from_numpy(out), wanted, rtol=0, atol=1e-12)


def test_channels_last_by_layout() -> None:
    class Last(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.pixel_shuffle(F.pixel_unshuffle(x.permute(0, 3, 1, 2), 4) * 2, 4).permute(0, 2, 3, 1)

    x = image(1, 7, 10, 3)
    got = oc.run(Last(), x, pad_to_fit="reflect", layout="NHWC")
    assert torch.equal(got, 2 * x)


def test_channels_last_in_memory_stay_so() -> None:
    x = image(1, 3, 5, 4).to(memory_format=torch.channels_last)
    for mode in MODES:
        found = padded(x, (1, 3, 8, 6), mode)
        assert isinstance(found, Tensor)
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(found, F.pad(x, (0, 2, 0, 3), mode=mode))


class Watched:
    """An array that notes how much of it is read."""

    def __init__(self, array: Any) -> None:
        self.array, self.shape, self.dtype, self.most = array, array.shape, array.dtype, 0

    def __getitem__(self, place: tuple[slice, ...]) -> Any:
        part = self.array[place]
        self.most = max(self.most, part.size)
        return part


@pytest.mark.parametrize("mode", MODES)
def test_arrays_are_read_by_parts(mode: str) -> None:
    net, x = whole_numbers(Skips()), image(1, 1, 61, 10)
    wanted = net(F.pad(x, (0, 2, 0, 3), mode=mode))[..., :61, :10]
    watched, out = Watched(x.numpy()), np.zeros(wanted.shape)
    oc.run(net, watched, out=out, pad_to_fit=mode, schedule="stream", block=4, stream_axis="H")
    assert np.array_equal(out, wanted.numpy())
    assert watched.most < x.numel() / 3


@pytest.mark.parametrize("mode", MODES)
def test_any_part_of_a_padded_image(mode: str) -> None:
    x = image(2, 5, 4)
    whole = F.pad(x, (0, 3, 0, 4), mode=mode)
    assert torch.equal(padded(x, (2, 9, 7), mode), whole)  # type: ignore[arg-type]
    seen = Padded(x.numpy(), (2, 9, 7), mode)
    for h in range(9):
        for w in range(7):
            for to in ((h + 1, w + 1), (h + 2, 7), (9, w + 1)):
                place = (slice(0, 1), slice(h, min(to[0], 9)), slice(w, to[1]))
                assert torch.equal(seen[place], whole[place])


def test_tiled_pads_each_size_its_own_way_and_follows_the_net() -> None:
    net = whole_numbers(nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4, 4, 1), nn.PixelShuffle(2)))
    made = oc.tiled(net, pad_to_fit="constant", block=4)
    for h, w in ((7, 8), (8, 8), (8, 5)):
        x = image(1, 1, h, w)
        assert torch.equal(made(x), net(F.pad(x, (0, w % 2, 0, h % 2)))[..., :h, :w])
    net[0], net[2] = nn.PixelUnshuffle(3), nn.PixelShuffle(3)
    net[1] = whole_numbers(nn.Conv2d(9, 9, 1))
    x = image(1, 1, 8, 9)
    assert torch.equal(made(x), net(F.pad(x, (0, 0, 0, 1)))[..., :8, :9])


class Rolled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.roll(x, 1, 2)


@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool2d(3), nn.AdaptiveAvgPool2d(1)])
def test_outputs_of_one_size_are_not_cut(pool: nn.Module) -> None:
    net, x = nn.Sequential(nn.PixelUnshuffle(4), pool), image(1, 1, 21, 8)
    got = oc.run(net, x, pad_to_fit="constant")
    torch.testing.assert_close(got, net(F.pad(x, (0, 0, 0, 3))), rtol=0, atol=1e-12)


REFUSED: list[tuple[nn.Module, Sequence[int], dict[str, Any], str]] = [
    (nn.PixelUnshuffle(4), (1, 1, 3, 4), {"pad_to_fit": "edge"}, "there are constant, replicate, reflect, circular"),
    (nn.PixelUnshuffle(8), (1, 1, 3, 8), {"pad_to_fit": "reflect"}, "along H: 3 samples can be padded by at most 2 in"),
    (nn.PixelUnshuffle(8), (1, 1, 3, 8), {"pad_to_fit": "circular"}, "by at most 3 in this way, and 5 are missing; take"),
    (nn.Conv2d(1, 1, 7), (1, 1, 2, 8), {"pad_to_fit": "constant"}, "of the 1 of output nothing would be left"),
    (nn.Sequential(nn.PixelUnshuffle(4), nn.Upsample(size=(12, 12))), (1, 1, 5, 8), {"pad_to_fit": "constant"},
     "along H, output does not grow with the image"),
    (nn.Sequential(nn.PixelUnshuffle(4), Rolled()), (1, 1, 5, 8), {"pad_to_fit": "constant"},
     "along H, output grows with the image, but not sample by sample"),
    (nn.Sequential(nn.PixelUnshuffle(4), nn.Flatten(2)), (1, 1, 6, 8), {"pad_to_fit": "constant"},
     "along H, output has it in one dimension with something else"),
]  # fmt: skip


@pytest.mark.parametrize(("net", "shape", "options", "words"), REFUSED)
def test_what_cannot_be_padded_is_refused(
    net: nn.Module, shape: Sequence[int], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(oc.InputError, match=words):
        oc.plan(net, shape, **options)
    with pytest.raises(oc.InputError, match=words):
        oc.run(net, torch.zeros(*shape), **options)


def test_a_net_of_one_size_is_refused_with_that_size() -> None:
    class One(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.zeros(24)

    net = One()
    x = image(1, 1, 20)
    assert torch.equal(oc.run(net, x, pad_to_fit="constant", schedule="passes"), x)
    with pytest.raises(oc.InputError, match=r"than 1x1x30 was found at which the net runs; tried, it runs at 1x1x24$"):
        oc.plan(net, (1, 1, 30), pad_to_fit="constant")


class Placed(nn.Module):
    """A value for every place, and so one size: no multiple of a usual step."""

    def __init__(self, h: int, w: int) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.zeros(1, 1, h, w))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.places


class Joined(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n * n, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("net", "given", "takes"),
    [
        (Placed(31, 47), (40, 40), "1x1x31x47"),
        (Placed(31, 47), (64, 64), "1x1x31x47"),
        (Joined(31), (37, 33), "1x1x31x31"),
    ],
)
def test_the_one_size_is_found_whatever_it_is(net: nn.Module, given: tuple[int, int], takes: str) -> None:
    with pytest.raises(oc.InputError, match=rf"tried, it runs at {takes}$"):
        oc.plan(net, (1, 1, *given), pad_to_fit="constant")


def test_a_smaller_image_is_padded_to_the_one_size_or_refused_with_it() -> None:
    padding = oc.plan(Joined(31), (1, 1, 30, 20), pad_to_fit="constant", schedule="passes").padding
    assert padding is not None
    assert padding.padded["x"] == (1, 1, 31, 31)
    with pytest.raises(oc.InputError, match=r"pad the image yourself, to 1x1x31x47$"):
        oc.plan(Placed(31, 47), (1, 1, 30, 20), pad_to_fit="constant")


def test_an_analysis_at_another_size_says_it_too() -> None:
    with pytest.raises(oc.TraceError, match=r"tried, it runs at 1x1x31x47$"):
        oc.analyze(Placed(31, 47), (1, 1, 40, 40))


def test_without_it_the_refusal_mentions_it() -> None:
    net = nn.PixelUnshuffle(4)
    for ask in (lambda: oc.plan(net, (1, 1, 29, 18)), lambda: oc.run(net, torch.zeros(1, 1, 29, 18))):
        with pytest.raises(oc.TraceError, match=r"H and W: multiples of 4 from 4.*can be padded, see pad_to_fit"):
            ask()
    with pytest.raises(oc.InputError, match="an analysis or a saved program has its size already"):
        oc.plan(oc.analyze(net, (1, 1, 16, 16)), pad_to_fit="constant")


@pytest.mark.parametrize(("schedule", "dtype"), [("crop", None), ("stream", None), ("crop", "float16")])
def test_the_padded_copy_is_counted(schedule: str, dtype: str | None) -> None:
    """Held beside what the net itself holds."""
    net, x = Skips(), (1, 1, 29, 18)
    here = oc.plan(net, x, pad_to_fit="reflect", block=8, schedule=schedule, dtype=dtype)
    bare = replace(here, copied=0)
    for mine, without in ((here.memory, bare.memory), (here.full_memory, bare.full_memory)):
        assert mine is not None
        assert without is not None
        assert mine.activations == without.activations + 32 * 20 * (2 if dtype else 4)
    stored = oc.plan(net, x, pad_to_fit="reflect", block=8, schedule=schedule, dtype=dtype, stored=True)
    assert stored.copied == 0  # read and padded part by part


def test_a_budget_covers_the_padded_copy() -> None:
    net, x = Skips(), (1, 1, 126, 128)
    least = oc.plan(net, (1, 1, 128, 128), memory="1MiB").memory
    assert least is not None
    made = oc.plan(net, x, memory=least.total + 128 * 128 * 4, pad_to_fit="reflect")
    assert made.memory is not None
    assert made.memory.total <= least.total + 128 * 128 * 4
    with pytest.raises(oc.InputError, match="beside padded copies of the inputs, which take 64 KiB"):
        oc.plan(net, x, memory="100KiB", pad_to_fit="reflect")


@pytest.mark.parametrize("schedule", ["crop", "trim", "passes"])
def test_verify_pads_as_run_does(schedule: str) -> None:
    net, x = whole_numbers(Skips()), image(1, 1, 29, 34)
    found = oc.verify(net, x, pad_to_fit="reflect", schedule=schedule, block=8)
    assert found.proved
    assert found.plan.inputs["x"] == (1, 1, 32, 36)
    assert found.plan.padding is not None
    assert found.plan.padding.kept["output"] == (1, 2, 29, 34)
    with pytest.raises(oc.TraceError):
        oc.verify(net, x, schedule=schedule, block=8)
    with pytest.raises(oc.InputError, match="has its size already"):
        oc.verify(net, oc.analyze(net, (1, 1, 32, 36)), pad_to_fit="reflect")
