"""Training of examples/blockcnn: the regression, a small run, and what the checkpoints here give back."""

from __future__ import annotations

import copy
import importlib.util
from statistics import fmean

import numpy as np
import pytest
import torch
from shared.thorough import few

pytest.importorskip("PIL")
pytest.importorskip("safetensors")

import overlapcalc as oc
from examples.blockcnn import tables
from examples.blockcnn import train as training_command
from examples.blockcnn.__main__ import main
from examples.blockcnn.checkpoint import load, path_of, save, trained
from examples.blockcnn.colour import planes
from examples.blockcnn.remover import Remover, Shape
from examples.blockcnn.tables import Likeness, grey_of, removal
from examples.blockcnn.train import gain
from examples.blockcnn.training import Schedule, _crop, fit_filters, jpeg, pairs, train, turned
from examples.lic.photographs import SETS, read
from examples.lic.pictures import dead_leaves, psnr
from examples.lic.similarity import ssim

QUICK = Schedule(10, blocks=2000, ridge=300.0, steps=25, batch=2, crop=32, learning=1e-3)


def pictures(number: int = 2) -> list[np.ndarray]:
    return [dead_leaves(90, 75, seed=seed) for seed in range(number)]


def seeded(shape: Shape) -> Remover:
    torch.manual_seed(0)
    return Remover(shape)


# ---- pairs ----------------------------------------------------------------------------------------------------------


def test_pictures_are_turned_all_eight_ways():
    corners = np.arange(6, dtype=np.uint8).reshape(2, 3)
    ways = [way.tolist() for way in turned(corners)]
    assert len({str(way) for way in ways}) == 8
    assert {len(way) for way in ways} == {2, 3}
    assert all(sorted(sample for row in way for sample in row) == list(range(6)) for way in ways)


def test_pairs_are_coded_after_they_are_turned():
    """So the grid begins in the corner of each."""
    made = pairs(pictures(1), QUICK, halved=True)
    assert len(made) == 8
    for pair in made:
        assert np.array_equal(pair.decoded, jpeg(pair.original, 10, halved=True))
    assert not np.array_equal(made[1].decoded, made[0].decoded[:, ::-1])


@pytest.mark.parametrize("halved", [False, True])
def test_crops_lie_on_the_grid_with_their_margin(halved):
    """What a crop reads is what the padded picture has around it."""
    net, random = seeded(Shape(halved, k=1)), np.random.default_rng(0)
    (pair, *_) = pairs(pictures(1), QUICK, halved=halved)
    margin, grid = net.shape.margin, net.shape.grid
    padded, wanted = net.padded(planes(pair.decoded)), planes(pair.original)
    places = [(top, left) for top in range(0, 90 - 32 + 1, grid) for left in range(0, 75 - 32 + 1, grid)]
    found = set()
    for _ in range(40):
        around, own = _crop(net, pair, 32, random)
        at = [(top, left) for top, left in places if torch.equal(own, wanted[:, :, top : top + 32, left : left + 32])]
        ((top, left),) = at
        side = 32 + 2 * margin
        assert torch.equal(around, padded[:, :, top : top + side, left : left + side])
        found.add((top, left))
    assert len(found) > len(places) / 2


# ---- the regression -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("halved", [False, True])
def test_filters_are_the_least_squares(halved):
    """Windows gathered by hand, and solved for by another algorithm."""
    schedule = Schedule(10, blocks=10**6, ridge=5.0)
    net = seeded(Shape(halved, k=1))
    (pair, *_) = pairs([dead_leaves(160, 128, seed=3)], schedule, halved=halved)
    fit_filters(net, [pair], schedule, np.random.default_rng(0))
    x, y = (planes(own, torch.float64)[0].numpy() for own in pair[::-1])
    around = np.pad(x, ((0, 0), (8, 8), (8, 8)), mode="edge")
    grid = 16 if halved else 8
    inputs, outputs = [], []
    for plane in (1, 2):
        for top in range(0, 160, grid):
            for left in range(0, 128, grid):
                window = around[plane, top : top + grid + 16, left : left + grid + 16]
                if halved:
                    window = window.reshape(16, 2, 16, 2).mean((1, 3))
                inputs.append([*window.flat, 1.0])
                outputs.append((y - x)[plane, top : top + grid, left : left + grid].flatten())
    rows, wanted = np.array(inputs), np.array(outputs)
    penalty = np.sqrt(5.0 * len(rows)) * np.eye(rows.shape[1])[:-1]
    zeros = np.zeros((len(penalty), wanted.shape[1]))
    right, *_ = np.linalg.lstsq(np.concatenate([rows, penalty]), np.concatenate([wanted, zeros]), rcond=None)
    layer = net.chroma.positions
    assert (
        np.abs(layer.weight.detach().flatten(1).numpy() - right[:-1].T).max() < 1e-4 * np.abs(right[:-1]).max() + 1e-6
    )
    assert np.abs(layer.bias.detach().numpy() - right[-1]).max() < 1e-3


# ---- a run ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("halved", few([False, True], 1))
def test_a_small_run_gives_something_back_and_is_the_same_again(halved):
    made = pairs(pictures(), QUICK, halved=halved)
    first, again, told = seeded(Shape(halved, k=4, layers=2)), seeded(Shape(halved, k=4, layers=2)), []
    train(first, made, QUICK)
    train(again, made, QUICK, say=lambda step, error: told.append(step))
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name
    other = dead_leaves(90, 75, seed=0)
    assert gain(first, other, 10).after > gain(first, other, 10).base + 0.2
    untrained = copy.deepcopy(first)
    torch.nn.init.zeros_(untrained.luma.positions.weight)
    assert gain(untrained, other, 10).after < gain(first, other, 10).after
    assert told == []  # fewer than a hundred steps


def test_convolutions_begin_with_no_change():
    made = pairs(pictures(1), QUICK, halved=False)
    net = seeded(Shape(k=2, layers=2))
    train(net, made, Schedule(10, blocks=500, steps=0))
    x = planes(made[0].decoded)
    with torch.no_grad():
        padded = net.padded(x)
        linear = x + net.linear(padded)[:, :, 8:, 8:][:, :, : x.shape[2], : x.shape[3]]
        assert torch.allclose(net(x), linear, atol=1e-4)
        assert float((linear - x).abs().mean()) > 0.1


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training_command, "training_pictures", lambda side: pictures())
    monkeypatch.setattr(training_command, "Shape", lambda halved: Shape(halved, k=2, layers=2))
    out = tmp_path / "nets"
    assert main(["train", "--quality", "10", "--steps", "3", "--out", str(out)]) == 0
    assert trained(out) == (10,)
    assert "q10-444.safetensors" in capsys.readouterr().out
    assert load(path_of(10, halved=True, folder=out)).shape.halved
    for wrong, said in ((("--quality", "0"), "expected 1 to 100"), (("--quality", "10", "--steps", "-1"), "0 or more")):
        assert main(["train", *wrong, "--out", str(out)]) == 2
        assert said in capsys.readouterr().err


# ---- the checkpoints here -------------------------------------------------------------------------------------------


def test_the_checkpoints_that_come_with_the_example():
    """Small, and they give something back of a picture unlike those they were trained on."""
    assert {10, 20} <= set(trained())
    own = dead_leaves(120, 136, seed=77)
    for quality in trained():
        for halved in (False, True):
            path = path_of(quality, halved=halved)
            assert path.stat().st_size < 256 * 1024
            found = gain(load(path), own, quality)
            assert found.after > found.base + 0.2, path.name


@pytest.mark.parametrize("halved", few([False, True], 1))
def test_floats_by_blocks_are_within_a_thousandth_of_a_level(halved):
    """As the README says; what a sample less of the context does is shown with exact sums."""
    net = load(path_of(10, halved=halved))
    x = planes(jpeg(dead_leaves(61, 43, seed=5), 10, halved=halved))
    with torch.no_grad():
        whole = net(x)
    found = oc.run(net, x, block={"H": 24}, schedule="stream")
    assert float((found - whole).abs().max()) < 1e-3
    assert float((found - x).abs().max()) > 1


@pytest.mark.parametrize("called", SETS)
def test_what_they_give_back_of_photographs(called):
    """The figures that were asked for, in dB, on both sets; none of the photographs was trained on."""
    if not all(importlib.util.find_spec(photograph.package) for photograph in SETS[called]):
        pytest.skip("the packages with photographs are not installed")
    for quality, wanted in ((10, 0.85), (20, 0.6)):
        net = load(path_of(quality, halved=False))
        gains = [found.after - found.base for found in (gain(net, read(own), quality) for own in SETS[called])]
        assert fmean(gains) >= wanted
        assert min(gains) >= 0.4


# ---- the table ------------------------------------------------------------------------------------------------------


def test_the_table_of_gains(tmp_path):
    """Of a net that changes nothing there are none. Means are those of the rows above them."""
    for halved in (False, True):
        net = seeded(Shape(halved, k=1, layers=2))
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.zero_()
        save(path_of(30, halved=halved, folder=tmp_path), net, 30, "a test")

    def measured(a: np.ndarray, b: np.ndarray) -> Likeness:
        return Likeness(psnr(a, b), a.shape[0] / 1000)

    own = [(f"leaves {size}", dead_leaves(size, 50, seed=size)) for size in (40, 60)]
    sheet = removal(tmp_path, {"leaves": dict(own)}, measured)
    assert [row[1:3] for row in sheet.rows] == [
        (sampling, name)
        for sampling in ("4:4:4", "4:2:0", "grey")
        for name in ("leaves 40", "leaves 60", "**mean, leaves**")
    ]
    assert {row[0] for row in sheet.rows} == {"30"}
    assert {row[5] for row in sheet.rows} == {"+0.00"}
    base = [psnr(picture, jpeg(picture, 30, halved=False)) for _, picture in own]
    assert sheet.rows[1][3] == f"{base[1]:.2f}"
    assert sheet.rows[2][3:] == (f"{fmean(base):.2f}",) * 2 + ("+0.00", "0.0500", "0.0500", "+0.0000")
    grey = [psnr(grey_of(picture), jpeg(grey_of(picture), 30, halved=False)) for _, picture in own]
    assert sheet.rows[6][3] == f"{grey[0]:.2f}"


def test_ssim_by_its_formula():
    """At one place, by hand, with a Gaussian window of 11x11."""
    random = np.random.default_rng(0)
    a, b = (random.integers(0, 256, (11, 11)).astype(np.uint8) for _ in range(2))
    gauss = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights = np.outer(gauss, gauss) / gauss.sum() ** 2
    x, y = a.astype(float), b.astype(float)
    mx, my = (weights * x).sum(), (weights * y).sum()
    vx, vy, both = ((weights * p * q).sum() - m for p, q, m in ((x, x, mx * mx), (y, y, my * my), (x, y, mx * my)))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    right = (2 * mx * my + c1) * (2 * both + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    assert tables.measure(a, b).similarity == pytest.approx(right, rel=1e-12)
    assert ssim(np.stack([a, a], 2), np.stack([b, a], 2)) == pytest.approx((right + 1) / 2, rel=1e-12)
    with pytest.raises(ValueError, match="11x11 or more"):
        ssim(a[:10], b[:10])


def test_ssim_is_that_of_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    a = dead_leaves(30, 41, seed=3)
    b = jpeg(a, 10, halved=False)
    assert ssim(a, b) == pytest.approx(metrics.structural_similarity(a, b, channel_axis=2, **options), rel=1e-6)
