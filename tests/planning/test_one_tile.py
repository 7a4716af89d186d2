"""`fixed_tile` with `pad_to_fit`: one tile for images of every size, odd, even and shorter than the tile."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.engine.machine import Machine

pytestmark = pytest.mark.usefixtures("traced_once")


class Skips(nn.Module):
    """Down and up again with a skip: even lengths; of an odd one the last sample gets nothing from below."""

    def __init__(self, strict: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.strict, self.conv, self.up = strict, nn.Conv1d(1, 2, 3, padding=1), nn.ConvTranspose1d(2, 1, 2, 2)
        for p in self.parameters():
            p.data = torch.randint(-2, 3, p.shape).double()

    def forward(self, x: Tensor) -> Tensor:
        up = self.up(self.conv(F.max_pool1d(x, 2)))
        return x + (up if self.strict else F.pad(up, (0, x.shape[-1] - up.shape[-1])))


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of all tiles that are run."""
    shapes: list[tuple[int, ...]] = []
    run = Machine._noted

    def noted(self: Machine, *tiles: Tensor) -> Any:
        shapes.extend(tuple(tile.shape) for tile in tiles)
        return run(self, *tiles)

    monkeypatch.setattr(Machine, "_noted", noted)
    return shapes


@pytest.mark.parametrize(("strict", "tile"), [(True, 8), (False, 9)])
def test_one_tile_serves_images_of_every_size(strict: bool, tile: int, fed: list[tuple[int, ...]]) -> None:
    net = Skips(strict).double().eval()
    made = oc.tiled(net, fixed_tile=tile, pad_to_fit="replicate")
    for size in range(1, 3 * tile + 1, 1 if strict else 4):
        x = torch.randint(-3, 4, (1, 1, size)).double()
        length = next(n for n in range(max(size, tile), 99) if n % 2 == tile % 2)
        with torch.no_grad():
            wanted = net(F.pad(x, (0, length - size), mode="replicate"))[..., :size]
        fed.clear()
        assert torch.equal(made(x), wanted), size
        assert set(fed) == {(1, 1, tile)}
        assert made.plan(x.shape).padding.padded == {"x": (1, 1, length)}  # type: ignore[union-attr]


def test_tiles_of_two_lengths_and_an_axis_without(fed: list[tuple[int, ...]]) -> None:
    net = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4, 4, 3, padding=1, dtype=torch.float64), nn.PixelShuffle(2))
    for size, tile in (((9, 21), {"H": 10, "W": 12}), ((31, 5), {"H": 10, "W": 12}), ((31, 5), {"H": 12})):
        x = torch.rand(1, 1, *size, dtype=torch.float64)
        shape = [max(n + n % 2, tile.get(axis, 0)) for axis, n in zip("HW", size, strict=True)]
        with torch.no_grad():
            whole = net(F.pad(x, (0, shape[1] - size[1], 0, shape[0] - size[0])))[..., : size[0], : size[1]]
        fed.clear()
        got = oc.run(net, x, fixed_tile=tile, pad_to_fit="constant")
        torch.testing.assert_close(got, whole, rtol=0, atol=1e-12)
        assert set(fed) == {(1, 1, tile["H"], tile.get("W", shape[1]))}


REFUSED = [
    (4, "no tiles of 4 along L: too short for any block with its context; 6 is the nearest that works, of 6, 8, 10 and "
     "so on, for images of every size$"),
    (9, "no tiles of 9 along L: the net does not run on so many samples; 8 and 10 are the nearest that work, of 6, 8, 10 "
     "and so on, for images of every size$"),
]  # fmt: skip


@pytest.mark.parametrize(("tile", "words"), REFUSED)
def test_which_tiles_work_does_not_depend_on_the_image(tile: int, words: str) -> None:
    for size in (1, 40):
        with pytest.raises(oc.InputError, match=words):
            oc.plan(Skips(True), (1, 1, size), fixed_tile=tile, pad_to_fit="constant")


def test_the_shortest_tile_that_is_named_works_and_no_shorter_one() -> None:
    """Of a block of 2 samples, the pair before and that after are read; nothing else may be cut from a tile."""
    net = Skips(True)
    for size in (1, 19, 40):
        assert oc.plan(net, (1, 1, size), fixed_tile=6, pad_to_fit="constant").fed >= 1
    with pytest.raises(
        oc.InputError, match="too short for any block with its context; 6 is the nearest that works, of 6"
    ):
        oc.plan(net, (1, 1, 40), fixed_tile=4)


def test_refusals_without_padding_mention_it() -> None:
    for size, words in ((41, "runs at other sizes"), (8, "the image has 8"), (40, "its length must be that of the")):
        with pytest.raises(oc.OverlapcalcError, match=f"{words}.*see pad_to_fit"):
            oc.plan(Skips(True), (1, 1, size), fixed_tile=11)


def test_an_obstacle_is_refused_as_ever() -> None:
    net = nn.Sequential(nn.Conv1d(1, 4, 3, padding=1), nn.GroupNorm(2, 4))
    with pytest.raises(oc.ObstacleError, match="passes run it exactly"):
        oc.plan(net, (1, 1, 40), fixed_tile=8, pad_to_fit="constant")


@pytest.mark.parametrize("tile", [7, 11, 13])
def test_lengths_are_listed_in_one_way_with_and_without_padding(tile: int) -> None:
    """Even lengths from 6 on; of one image, up to its own."""
    before, after = max(tile - 1, 6), tile + 1
    near = f"{before} and {after} are the nearest that work, of 6, 8, 10 and so on"
    with pytest.raises(oc.InputError, match=f"no tiles of {tile} along L: .*; {near} up to 40; for one tile"):
        oc.plan(Skips(True), (1, 1, 40), fixed_tile=tile)
    with pytest.raises(oc.InputError, match=f"no tiles of {tile} along L: .*; {near}, for images of every size$"):
        oc.plan(Skips(True), (1, 1, 40), fixed_tile=tile, pad_to_fit="constant")


def test_an_output_that_is_cut_to_less_than_the_net_itself_gives_is_told() -> None:
    """Of 31 samples 34 come out, and of 32, too; of those, one is cut for the one that was padded."""
    net = nn.Sequential(nn.Conv1d(1, 2, 3, stride=2, padding=1), nn.ConvTranspose1d(2, 1, 4, 2))
    own = tuple(net(torch.zeros(1, 1, 31)).shape)
    padding = oc.plan(net, (1, 1, 31), fixed_tile=20, pad_to_fit="constant").padding
    assert padding is not None
    assert (padding.kept["output"], padding.own["output"]) == ((1, 1, 33), own)
    assert "and the net itself gives another size on the image: output 1x1x33 to 1x1x34" in str(padding)
    assert padding.to_dict()["outputs"]["output"]["own"] == [1, 1, 34]
    same = oc.plan(Skips(False), (1, 1, 31), fixed_tile=10, pad_to_fit="constant").padding
    assert same is not None
    assert same.any
    assert same.kept[0] == same.own[0] == (1, 1, 31)
    assert "another size" not in str(same)
