"""Training of examples/kamisli: rows against nets, the closed loop in floats, the linear start, and a small run."""

from __future__ import annotations

import bz2
import dataclasses
import importlib.util
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from shared.thorough import few

from examples.kamisli.closed_loop import ClosedLoop
from examples.kamisli.coding import channels
from examples.kamisli.nets import KERNELS, SMALL, Nets, Shape, nets
from examples.kamisli.rows import (
    NEIGHBOURS,
    PLACES,
    SKEW,
    Around,
    Blocks,
    closed,
    distribution,
    estimate,
    on_rows,
    places_of,
    read,
    with_nothing,
)
from examples.kamisli.start import start_linear, step
from examples.kamisli.training import Schedule, _batches, _chained, cost, train
from examples.lic.photographs import HELD_OUT, SETS, TRAINING, VALIDATION, Photograph, halved
from examples.lic.photographs import read as read_photograph
from examples.lic.pictures import dead_leaves, waves
from examples.lic.priors import GaussianConditional
from overlapcalc import InputError

TINY = {kernels: Shape(4, 16, 6, kernels) for kernels in KERNELS}


def made(kernels: str) -> Nets:
    """In float64, with scales and means that depend on what is read."""
    torch.manual_seed(2)
    own = nets(TINY[kernels])
    with torch.no_grad():
        own.entropy[-1].weight *= 20
    return Nets(*(net.double() for net in own))


def pictures() -> list[torch.Tensor]:
    """Two of different sizes, as channels."""
    return [channels(dead_leaves(16, 24, seed=1), 4)[0].float(), channels(waves(8, 12, seed=1), 4)[0].float()]


def nets_on(own: Nets, x: torch.Tensor, reconstruction: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The reconstruction, and scales and means, of each block by the padded nets, as rows."""
    with torch.no_grad():
        scales, means = own.entropy(reconstruction).chunk(2, 1)
        y = torch.round(own.analysis(x[None], reconstruction) - means) + means
        return tuple(of[0].flatten(1).T for of in (own.synthesis(y, reconstruction), torch.cat([scales, means], 1)))


def farthest(own: Nets, change: Callable[[Around], Around] = lambda around: around) -> tuple[float, float]:
    """How far rows are from the padded nets in float64, blocks at the border included: the reconstruction, and scales and
    means.

    change: of what stands around the blocks.
    """
    both = [x.double() for x in pictures()]
    blocks = Blocks.of(both, places_of(own))
    other = torch.rand(blocks.samples.shape, generator=torch.Generator().manual_seed(5)).double() - 0.5
    with torch.no_grad():
        around = change(read(with_nothing(other), blocks.neighbours))
        found = estimate(own, blocks.samples, around).reconstruction, torch.cat(distribution(own.entropy, around), 1)
    worst, start = torch.zeros(2, dtype=torch.float64), 0
    for x in both:
        part = slice(start, start + x.shape[1] * x.shape[2])
        right = nets_on(own, x, other[part].T.reshape(1, *x.shape))
        far = torch.stack([(of[part] - by).abs().max() for of, by in zip(found, right, strict=True)])
        worst, start = torch.maximum(worst, far), part.stop
    return float(worst[0]), float(worst[1])


@pytest.mark.parametrize("kernels", KERNELS)
def test_rows_give_what_the_nets_give(kernels):
    assert max(farthest(made(kernels))) < 1e-12


@pytest.mark.parametrize("kernels", KERNELS)
def test_bits_are_those_of_rounded_latents(kernels):
    own, x = made(kernels), pictures()[0].double()
    blocks = Blocks.of([x], places_of(own))
    with torch.no_grad():
        found = estimate(own, blocks.samples, read(with_nothing(blocks.samples), blocks.neighbours))
        scales, means = own.entropy(x[None]).chunk(2, 1)
        rounded = torch.round(own.analysis(x[None], x[None]) - means) + means
        right = -GaussianConditional().likelihood(rounded, scales, means).log2().sum((0, 1)).flatten()
    assert torch.allclose(found.bits, right, rtol=1e-9)


@pytest.mark.parametrize("kernels", few(KERNELS, 1))
def test_rows_differ_with_one_place_wrong(kernels):
    """Of the four, and of all eleven with kernels 3311: each is read."""
    own = made(kernels)
    for place in range(len(places_of(own))):

        def moved(around: Around, place: int = place) -> Around:
            samples = around.samples.clone()
            samples[:, place] += 0.1
            return around._replace(samples=samples)

        assert farthest(own, moved)[1] > 1e-6


def test_features_beyond_the_border_are_nothing():
    """Not what the first layer makes of nothing, which has a bias."""
    own = made("3311")
    assert farthest(own, lambda around: around._replace(there=torch.ones_like(around.there)))[1] > 1e-6


def test_the_places_of_kernels_3311():
    assert set(PLACES) == {(-2, j) for j in range(-2, 3)} | {(-1, j) for j in range(-2, 2)} | {(0, -2), (0, -1)}
    assert PLACES[:4] == NEIGHBOURS
    assert (places_of(made("3111")), places_of(made("3311"))) == (NEIGHBOURS, PLACES)


def test_too_few_places_are_refused():
    blocks, own = Blocks.of([x.double() for x in pictures()]), made("3311")
    with pytest.raises(ValueError, match="4 places; layers that read hidden neighbours need 11"):
        estimate(own, blocks.samples, read(with_nothing(blocks.samples), blocks.neighbours))


@pytest.mark.parametrize("places", [NEIGHBOURS, PLACES])
def test_blocks_of_a_step_read_earlier_steps_only(places):
    """With the first steps merged they do not."""
    blocks = Blocks.of(pictures(), places)

    def sound(steps: tuple[torch.Tensor, ...]) -> bool:
        when = torch.empty(len(blocks.samples) + 1, dtype=torch.long)
        for time, together in enumerate(steps):
            when[together] = time
        when[-1] = -1
        return bool((when[blocks.neighbours] < when[:-1, None]).all())

    assert sorted(torch.cat(blocks.steps).tolist()) == list(range(len(blocks.samples)))
    assert len(blocks.steps) == SKEW * (4 - 1) + 6
    assert sound(blocks.steps)
    assert not sound((torch.cat(blocks.steps[:2]), *blocks.steps[2:]))


@pytest.mark.parametrize("kernels", few(KERNELS, 1))
def test_the_closed_loop_of_training_is_that_of_coding(kernels):
    own, both = made(kernels), [x.double() for x in pictures()]
    found, start = closed(own, Blocks.of(both, places_of(own))), 0
    for x in both:
        rows, columns = x.shape[1:]
        right = ClosedLoop(own, TINY[kernels], (rows, columns), encodes=True)(
            x[None], lambda distances, scales: distances.round(), "raster"
        )
        part = found.reconstruction[start : start + rows * columns].T.reshape(x.shape)
        assert torch.allclose(part, right[0], rtol=0, atol=1e-12)
        start += rows * columns


def test_the_second_run_reads_what_the_first_one_made():
    """Of blocks that were chosen, too; of others what was stored, and nothing beyond the border."""
    blocks = Blocks.of([torch.zeros(1, 3, 3)] * 2)
    stored, chosen = 100 + torch.arange(18.0)[:, None], torch.tensor([13, 14, 16, 17])
    neighbours = blocks.neighbours[chosen]
    found = _chained(chosen[:, None].float(), read(with_nothing(stored), neighbours), neighbours, chosen)
    assert found.near.tolist() == [
        [109, 110, 111, 112],
        [110, 111, 0, 13],
        [112, 13, 14, 115],
        [13, 14, 0, 16],
    ]


def test_the_step_of_the_start_is_the_best():
    """Of bits and errors of a fine quantiser, by trial."""

    def cost_of(step_: float) -> float:
        return -3 * math.log2(step_) + 435.6675 * step_**2 / 12

    steps = np.linspace(0.1, 0.5, 4001)
    assert steps[np.argmin([cost_of(s) for s in steps])] == pytest.approx(step(435.6675), abs=1e-4)


def test_batches():
    blocks, schedule = Blocks.of([torch.zeros(1, 8, 8)] * 3), Schedule(batch=64)
    random_ = np.random.default_rng(1)
    alone = next(_batches(blocks, schedule, random_, chained=False))
    assert len(alone) == 64
    patches = next(_batches(blocks, schedule, random_, chained=True)).reshape(4, 4, 4)
    seen = torch.cat([next(_batches(blocks, schedule, random_, chained=True)) for _ in range(100)])
    assert len(seen.unique()) == 192
    for patch in patches:
        first = int(patch[0, 0])
        assert first % 8 <= 4
        assert torch.equal(patch, first + 8 * torch.arange(4)[:, None] + torch.arange(4))


def test_the_start_is_a_codec_that_predicts():
    """It predicts better than the mean of all blocks, and codes the residual."""
    own = nets(SMALL)
    blocks = Blocks.of([channels(dead_leaves(96, 128, seed=seed), 8)[0].float() for seed in range(3)])
    start_linear(own, blocks, 435.0)
    x, around = blocks.samples, read(with_nothing(blocks.samples), blocks.neighbours)
    with torch.no_grad():
        found = cost(estimate(own, x, around), blocks, 435.0)
        nothing = own.synthesis.rest
        predicted = on_rows(nothing, own.synthesis.own.bias + on_rows(own.synthesis.context, around.near))
    assert (predicted - x).square().mean() < 0.4 * x.var(0).mean()
    assert found.error < 0.25 * (predicted - x).square().mean()


@pytest.mark.parametrize("kernels", few(KERNELS, 1))
def test_a_small_run_lowers_the_cost_and_is_the_same_again(kernels):
    schedule = Schedule(rate=300.0, steps=(10, 4), chained=(3,), crops=4, crop=32, batch=64)
    training = [dead_leaves(40, 48, seed=seed) for seed in range(2)]
    shape = TINY[kernels]

    def ran(own: Nets, schedule: Schedule = schedule) -> list[float]:
        torch.manual_seed(1)
        sets = {"one": [dead_leaves(32, 40, seed=9)], "two": [waves(24, 24, seed=1)]}
        found = train(own, shape.block, training, sets, schedule, say=lambda _: None)
        assert [done.number for done in found] == list(range(len(schedule.steps + schedule.chained)))
        assert all(done.sets["one"] != done.sets["two"] for done in found)
        assert found[0].sets["one"].open != found[0].sets["one"].closed
        return [done.sets["one"].closed.cost for done in found]

    torch.manual_seed(3)
    first, again = nets(shape), nets(shape)
    for net, other in zip(first, again, strict=True):
        other.load_state_dict(net.state_dict())
    untrained = ran(nets(shape), dataclasses.replace(schedule, steps=(0,), chained=()))
    costs = ran(first)
    assert costs == ran(again)
    assert costs[-1] < untrained[0]


def test_costs_are_means_of_pictures():
    blocks = Blocks.of([torch.zeros(48, 2, 2).double(), torch.zeros(48, 1, 1).double()])
    found = closed(made("3111"), blocks)._replace(
        reconstruction=torch.full((5, 48), 0.1).double(), bits=torch.tensor([16.0, 16, 16, 16, 48])
    )
    own = cost(found, blocks, 100.0)
    assert own.bits == pytest.approx((1 + 3) / 2)
    assert own.error == pytest.approx(0.01)
    assert own.cost == pytest.approx(2 + 1)


def test_pictures_are_in_one_set_each():
    names = [p.name for of in (TRAINING, VALIDATION, HELD_OUT) for p in of]
    assert len(set(names)) == len(names)
    assert len(HELD_OUT) >= 3
    assert {"validation": VALIDATION, "held out": HELD_OUT} == SETS
    assert all(p.halved for of in (TRAINING, VALIDATION, HELD_OUT) for p in of if p.path.endswith("jpg"))
    picture = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
    assert halved(picture)[1, 1].tolist() == np.rint(picture[2:4, 2:4].mean((0, 1))).tolist()


def test_photographs_are_there_where_their_packages_are():
    sizes = {"chelsea": (300, 451, 3), "coffee": (400, 600, 3), "china": (213, 320, 3), "flower": (213, 320, 3),
             "face": (384, 512, 3), "ihc": (256, 256, 3), "grace_hopper": (300, 256, 3)}  # fmt: skip
    found = 0
    for photograph in (*VALIDATION, *HELD_OUT):
        if importlib.util.find_spec(photograph.package) is not None:
            picture, found = read_photograph(photograph), found + 1
            assert picture.shape == sizes[photograph.name]
            assert (picture.min(2) != picture.max(2)).any()
    if not found:
        pytest.skip("no package with photographs")


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="chelsea: this needs skimage: make pictures"):
        read_photograph(VALIDATION[0])


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with raw samples, halved when they are read."""
    (tmp_path / "spare").mkdir()
    (tmp_path / "spare" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return Photograph("spare", "own.dat", "CC0", halved=True, raw=(4, 6)), tmp_path / "spare" / "own.dat"


def test_raw_samples(package):
    photograph, path = package
    picture = dead_leaves(4, 6, seed=1)
    path.write_bytes(bz2.compress(picture.tobytes()))
    assert np.array_equal(read_photograph(photograph), halved(picture))


def test_raw_samples_that_are_none_are_refused(package):
    photograph, path = package
    with pytest.raises(InputError, match="this version of spare has no such picture"):
        read_photograph(photograph)
    for data in (b"BZh", bz2.compress(bytes(71))):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"own.dat: it holds no 6x4 samples"):
            read_photograph(photograph)
