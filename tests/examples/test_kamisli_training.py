"""Training of examples/kamisli: rows against nets, the closed loop in floats, the linear start, and a small run."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from examples.kamisli.closed_loop import ClosedLoop
from examples.kamisli.coding import channels
from examples.kamisli.nets import SMALL, Nets, Shape, nets
from examples.kamisli.photographs import HELD_OUT, TRAINING, halved
from examples.kamisli.photographs import read as read_photograph
from examples.kamisli.rows import SKEW, Blocks, closed, estimate, on_rows, read, with_nothing
from examples.kamisli.start import start_linear, step
from examples.kamisli.training import Schedule, _batches, _chained, cost, train
from examples.lic.pictures import dead_leaves, waves
from examples.lic.priors import GaussianConditional
from overlapcalc import InputError

TINY = Shape(4, 16, 6)


def made() -> Nets:
    torch.manual_seed(2)
    return nets(TINY)


def pictures() -> list[torch.Tensor]:
    """Two of different sizes, as channels."""
    return [channels(dead_leaves(16, 24, seed=1), 4)[0].float(), channels(waves(8, 12, seed=1), 4)[0].float()]


def test_rows_give_what_the_nets_give():
    own, both = made(), pictures()
    blocks = Blocks.of(both)
    other = torch.rand_like(blocks.samples) - 0.5
    around, start = read(with_nothing(other), blocks.neighbours), 0
    found = estimate(own, blocks.samples, around)
    for x in both:
        number = x.shape[1] * x.shape[2]
        part = slice(start, start + number)
        reconstruction = other[part].T.reshape(1, *x.shape)
        with torch.no_grad():
            scales, means = own.entropy(reconstruction).chunk(2, 1)
            y = torch.round(own.analysis(x[None], reconstruction) - means) + means
            right = own.synthesis(y, reconstruction)[0].flatten(1).T
            bits = -GaussianConditional().likelihood(y, scales, means).log2().sum((0, 1)).flatten()
        assert torch.allclose(found.reconstruction[part], right, atol=1e-5)
        assert torch.allclose(found.bits[part], bits, rtol=1e-4)
        start += number


def test_rows_are_refused_for_nets_that_read_hidden_neighbours():
    blocks = Blocks.of(pictures())
    with pytest.raises(ValueError, match="a convolution with 5 open taps of 24 channels, 24 values"):
        estimate(nets(Shape(4, 16, 6, "3311")), blocks.samples, read(with_nothing(blocks.samples), blocks.neighbours))


def test_blocks_of_a_step_read_earlier_steps_only():
    """With one row of steps merged into the next they do not."""
    blocks = Blocks.of(pictures())

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


def test_the_closed_loop_of_training_is_that_of_coding():
    """In floats, so nearly; the one that codes runs in double precision."""
    own, both = made(), pictures()
    found, start = closed(own, Blocks.of(both)), 0
    doubled = Nets(*(net.double() for net in own))
    for x in both:
        rows, columns = x.shape[1:]
        right = ClosedLoop(doubled, TINY, (rows, columns), encodes=True)(
            x[None].double(), lambda distances, scales: distances.round(), "raster"
        )
        part = found.reconstruction[start : start + rows * columns].T.reshape(x.shape)
        assert torch.allclose(part.double(), right[0], atol=1e-4)
        start += rows * columns


def test_the_second_run_reads_what_the_first_one_made():
    """Of blocks that were chosen, too; of others what was stored, and nothing beyond the border."""
    blocks = Blocks.of([torch.zeros(1, 3, 3)] * 2)
    stored, chosen = 100 + torch.arange(18.0)[:, None], torch.tensor([13, 14, 16, 17])
    neighbours = blocks.neighbours[chosen]
    found = _chained(chosen[:, None].float(), read(with_nothing(stored), neighbours), neighbours, chosen)
    assert found.tolist() == [
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
        predicted = on_rows(nothing, own.synthesis.own.bias + on_rows(own.synthesis.context, around))
    assert (predicted - x).square().mean() < 0.4 * x.var(0).mean()
    assert found.error < 0.25 * (predicted - x).square().mean()


def test_a_small_run_lowers_the_cost_and_is_the_same_again():
    schedule = Schedule(rate=300.0, steps=(12, 6), chained=(4,), crops=6, crop=32, batch=128)
    training = [dead_leaves(48, 64, seed=seed) for seed in range(3)]
    shape = Shape(4, 16, 6)

    def ran(own: Nets, schedule: Schedule = schedule) -> list[float]:
        torch.manual_seed(1)
        found = train(own, shape.block, training, [dead_leaves(32, 40, seed=9)], schedule, say=lambda _: None)
        assert [done.number for done in found] == list(range(len(schedule.steps + schedule.chained)))
        assert found[0].open != found[0].closed
        return [done.closed.cost for done in found]

    torch.manual_seed(3)
    first, again = nets(shape), nets(shape)
    for net, other in zip(first, again, strict=True):
        other.load_state_dict(net.state_dict())
    untrained = ran(nets(shape), dataclasses.replace(schedule, steps=(0,), chained=()))
    costs = ran(first)
    assert costs == ran(again)
    assert costs[-1] < untrained[0]


def test_costs_are_means_of_pictures():
    blocks = Blocks.of([torch.zeros(48, 2, 2), torch.zeros(48, 1, 1)])
    found = closed(made(), blocks)._replace(
        reconstruction=torch.full((5, 48), 0.1), bits=torch.tensor([16.0, 16, 16, 16, 48])
    )
    own = cost(found, blocks, 100.0)
    assert own.bits == pytest.approx((1 + 3) / 2)
    assert own.error == pytest.approx(0.01)
    assert own.cost == pytest.approx(2 + 1)


def test_pictures_to_test_on_are_none_to_train_on():
    assert not {p.name for p in HELD_OUT} & {p.name for p in TRAINING}
    assert all(p.halved for p in (*HELD_OUT, *TRAINING) if p.path.endswith("jpg"))
    picture = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
    assert halved(picture)[1, 1].tolist() == np.rint(picture[2:4, 2:4].mean((0, 1))).tolist()


def test_photographs_are_there_where_their_packages_are():
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    sizes = {photograph.name: read_photograph(photograph).shape for photograph in HELD_OUT}
    assert sizes == {"chelsea": (300, 451, 3), "coffee": (400, 600, 3), "china": (213, 320, 3), "flower": (213, 320, 3)}


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"this needs skimage: pip install scikit-image scikit-learn"):
        read_photograph(HELD_OUT[0])
