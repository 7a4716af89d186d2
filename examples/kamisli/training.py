"""Asymptotic closed loop training: as fast as open-loop training, for nets that will run in a closed loop.

Each iteration trains on reconstructions that an earlier closed loop left (the originals at first), all blocks at once,
then runs the closed loop and keeps its reconstructions for the next one. Iteration by iteration what the nets read in
training comes closer to what they will read, and the gap between both costs closes. In the last iterations the nets run
twice, on the stored reconstruction and on what came of that, and half of each cost counts (the paper's equation 18).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from examples.lic.pictures import Picture

from .coding import channels
from .nets import Nets
from .rows import Around, Blocks, Closed, Estimate, Place, closed, estimate, places_of, read, with_nothing
from .start import start_linear


@dataclass(frozen=True)
class Schedule:
    """What a training run is. The same values on the same machine give the same weights."""

    rate: float = 435.6675
    """Of the cost, bits per pixel + rate * mean squared error of samples from 0 to 1."""
    seed: int = 1
    steps: tuple[int, ...] = (1400, 900, 900)
    """Of each iteration."""
    chained: tuple[int, ...] = (500, 500)
    """Of each iteration by equation 18, after those."""
    crops: int = 700
    crop: int = 128
    batch: int = 512
    """Blocks of a step."""
    learning: float = 3e-3
    """Of Adam, for the entropy net, in the first half of an iteration; then it falls to a tenth."""
    chained_learning: float = 1e-3
    """The same of the iterations by equation 18."""


TRANSFORMS = 0.5
"""Of the entropy net's learning rate, the part at which the transforms learn."""
PATCH = 4
"""Blocks, each way, that lie together where the second run reads what the first one made."""


class Cost(NamedTuple):
    """Means over pictures. cost: bits per pixel + rate * error."""

    cost: float
    bits: float
    error: float


class Costs(NamedTuple):
    """Of the same pictures: with stored reconstructions around each block, and coded."""

    open: Cost
    closed: Cost


class Iteration(NamedTuple):
    """What sets of pictures that are not trained on cost after one iteration."""

    number: int
    sets: dict[str, Costs]


class _Test:
    """A set of pictures that is not trained on. stored: what the last closed loop left of it."""

    def __init__(self, pictures: Sequence[Picture], block: int, places: Sequence[Place]) -> None:
        self.blocks = Blocks.of([channels(picture, block)[0].float() for picture in pictures], places)
        self.stored = self.blocks.samples

    @torch.no_grad()
    def costs(self, nets: Nets, rate: float) -> Costs:
        opened = estimate(nets, self.blocks.samples, read(with_nothing(self.stored), self.blocks.neighbours))
        coded = closed(nets, self.blocks)
        self.stored = coded.reconstruction
        return Costs(cost(opened, self.blocks, rate), cost(coded, self.blocks, rate))


def train(
    nets: Nets,
    block: int,
    pictures: Sequence[Picture],
    sets: Mapping[str, Sequence[Picture]],
    schedule: Schedule,
    *,
    say: Callable[[Iteration], object] = print,
) -> list[Iteration]:
    """Trains nets in place. pictures: to train on, of at least a crop's size. sets: others, which are measured and
    decide nothing. Raises ValueError."""
    torch.manual_seed(schedule.seed)
    random = np.random.default_rng(schedule.seed)
    places = places_of(nets)
    blocks = Blocks.of([channels(crop, block)[0].float() for crop in _crops(pictures, schedule, random)], places)
    tests = {name: _Test(of, block, places) for name, of in sets.items()}
    start_linear(nets, blocks, schedule.rate)
    stored, found = blocks.samples, list[Iteration]()
    plan = [(steps, False) for steps in schedule.steps] + [(steps, True) for steps in schedule.chained]
    for number, (steps, chained) in enumerate(plan):
        _train_open(nets, blocks, stored, schedule, random, steps, chained=chained)
        found.append(Iteration(number, {name: test.costs(nets, schedule.rate) for name, test in tests.items()}))
        say(found[-1])
        if number + 1 < len(plan):
            stored = closed(nets, blocks).reconstruction
    return found


def _train_open(
    nets: Nets,
    blocks: Blocks,
    stored: Tensor,
    schedule: Schedule,
    random: np.random.Generator,
    steps: int,
    *,
    chained: bool,
) -> None:
    transforms = [p for net in (nets.analysis, nets.synthesis) for p in net.parameters()]
    entropy = list(nets.entropy.parameters())
    adam = torch.optim.Adam([{"params": entropy, "part": 1.0}, {"params": transforms, "part": TRANSFORMS}])
    around_all, peak = with_nothing(stored), schedule.chained_learning if chained else schedule.learning
    for step, chosen in zip(range(steps), _batches(blocks, schedule, random, chained=chained), strict=False):
        for group in adam.param_groups:
            group["lr"] = group["part"] * peak * _slope(step / steps)
        x, neighbours = blocks.samples[chosen], blocks.neighbours[chosen]
        around = read(around_all, neighbours)
        first = estimate(nets, x, around, training=True)
        loss = _loss(first, x, schedule.rate)
        if chained:
            again = estimate(nets, x, _chained(first.reconstruction, around, neighbours, chosen), training=True)
            loss = 0.5 * loss + 0.5 * _loss(again, x, schedule.rate)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([*entropy, *transforms], 1.0)
        adam.step()


def _slope(done: float) -> float:
    """Of the learning rate: level for half of the steps, then down to a tenth by a cosine."""
    return 1.0 if done < 0.5 else 0.1 + 0.45 * (1 + math.cos(2 * math.pi * (done - 0.5)))


def _loss(found: Estimate, x: Tensor, rate: float) -> Tensor:
    pixels = x.numel() / 3
    return found.bits.sum() / pixels + rate * (found.reconstruction - x).square().mean()


def _batches(blocks: Blocks, schedule: Schedule, random: np.random.Generator, *, chained: bool) -> Iterator[Tensor]:
    """Numbers of blocks from anywhere, for ever: one by one, or patches of blocks where they are chained."""
    number, crops = len(blocks.samples), int(blocks.pictures[-1]) + 1
    side = math.isqrt(number // crops)
    patch = min(PATCH, side) if chained else 1
    grid, places = torch.arange(number).reshape(crops, side, side), side - patch + 1
    down, right = torch.arange(patch).reshape(-1, 1), torch.arange(patch)
    size = (max(1, schedule.batch // patch**2), 1, 1)
    while True:
        crop, top, left = (torch.from_numpy(random.integers(n, size=size)) for n in (crops, places, places))
        yield grid[crop, top + down, left + right].flatten()


def _chained(first: Tensor, around: Around, neighbours: Tensor, chosen: Tensor) -> Around:
    """What stands around the chosen blocks after the first run: what it made of those that are chosen,
    too, and of the others what is stored.

    first: the reconstructions of the chosen blocks. around: what was stored around them.
    """
    places = torch.full((int(max(neighbours.max(), chosen.max())) + 1,), -1)
    places[chosen] = torch.arange(len(chosen))
    place = places[neighbours]
    stored = len(chosen) + torch.arange(place.numel()).reshape(place.shape)
    values = torch.cat([first, around.samples.flatten(0, 1)])
    return Around(values[torch.where(place >= 0, place, stored)], around.there)


def cost(found: Estimate | Closed, blocks: Blocks, rate: float) -> Cost:
    """The mean of the pictures, each of which counts alike."""
    number = torch.bincount(blocks.pictures).double()
    error = (found.reconstruction.clamp(-0.5, 0.5) - blocks.samples).square().mean(1).double()
    bits = found.bits.double() / (blocks.samples.shape[1] / 3)
    per_picture = [torch.zeros_like(number).index_add_(0, blocks.pictures, of) / number for of in (bits, error)]
    mean_bits, mean_error = (float(of.mean()) for of in per_picture)
    return Cost(mean_bits + rate * mean_error, mean_bits, mean_error)


def _crops(pictures: Sequence[Picture], schedule: Schedule, random: np.random.Generator) -> Iterator[Picture]:
    """As many of every picture, turned and mirrored, every second one in other colours."""
    side = schedule.crop
    for i in range(schedule.crops):
        picture = pictures[i % len(pictures)]
        top, left = (int(random.integers(n - side + 1)) for n in picture.shape[:2])
        part = np.rot90(picture[top : top + side, left : left + side], int(random.integers(4)))
        part = part[:, ::-1] if random.random() < 0.5 else part
        yield np.ascontiguousarray(part if random.random() < 0.5 else _coloured(part, random))


def _coloured(part: Picture, random: np.random.Generator) -> Picture:
    """Each channel in a contrast and a brightness of its own. Many of the free pictures are grey: a codec that saw no
    other would leave colours out."""
    contrast, brighter = np.exp(random.normal(0, 0.3, 3)), random.normal(0, 25, 3)
    mean = part.mean((0, 1))
    changed = mean + contrast * (part - mean) + brighter
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)
