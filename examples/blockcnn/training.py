"""Training of a remover for one quality: filters by ridge regression, then convolutions on their result."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from examples.lic.extra import extra
from examples.lic.pictures import Picture

from .colour import colours, planes
from .remover import JPEG, SLOPE, Filters, Remover, means


@dataclass(frozen=True)
class Schedule:
    """What a training run is. The same values on the same machine give the same weights."""

    quality: int
    seed: int = 1
    blocks: int = 60_000
    """Of JPEG, that the regression sees."""
    ridge: float = 10.0
    """Added to the variances of what it reads, in levels squared."""
    steps: int = 1100
    batch: int = 8
    crop: int = 64
    """What a step makes of each picture; it reads the margin around."""
    learning: float = 3e-3
    """Of Adam, in the beginning; it falls to 0 by a cosine."""


class Pair(NamedTuple):
    """A picture, and what its JPEG file is decoded to."""

    original: Picture
    decoded: Picture


def jpeg(picture: Picture, quality: int, *, halved: bool) -> Picture:
    """As Pillow codes and decodes it. halved: 4:2:0, else 4:4:4."""
    image, file = extra("PIL.Image"), io.BytesIO()
    image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling=2 if halved else 0)
    return np.array(image.open(file))


def turned(picture: Picture) -> Iterator[Picture]:
    """All eight ways."""
    for turn in (picture, picture.transpose(1, 0, *range(2, picture.ndim))):
        for flipped in (turn, turn[::-1]):
            yield np.ascontiguousarray(flipped)
            yield np.ascontiguousarray(flipped[:, ::-1])


def pairs(pictures: Sequence[Picture], schedule: Schedule, *, halved: bool) -> list[Pair]:
    """Every picture in all eight ways, coded. The grid of JPEG lies otherwise in each where sizes are not of blocks."""
    return [Pair(way, jpeg(way, schedule.quality, halved=halved)) for picture in pictures for way in turned(picture)]


def train(
    net: Remover, made: Sequence[Pair], schedule: Schedule, *, say: Callable[[int, float], object] = lambda *_: None
) -> None:
    """Trains in place. made: of pictures of at least a crop's size. say: told a step and its error, now and then."""
    torch.manual_seed(schedule.seed)
    random = np.random.default_rng(schedule.seed)
    fit_filters(net, made, schedule, random)
    train_body(net, made, schedule, random, say)


# ---- filters --------------------------------------------------------------------------------------------------------


@torch.no_grad()
def fit_filters(net: Remover, made: Sequence[Pair], schedule: Schedule, random: np.random.Generator) -> None:
    """The least squares of what is wrong with a plane, for the window around each block of it."""
    shape = net.shape
    per_picture = -(-schedule.blocks // len(made))
    luma, chroma = _Regression(net.luma), _Regression(net.chroma)
    for pair in made:
        x, y = (planes(picture) for picture in (pair.decoded, pair.original))
        height, width = (n // shape.grid * shape.grid for n in y.shape[2:])
        around = net.padded(x[:, :, :height, :width])
        rest = shape.margin - JPEG
        around = around[:, :, rest : around.shape[2] - rest, rest : around.shape[3] - rest]
        wrong = (y - x)[:, :, :height, :width]
        luma.add(around[:, :1], wrong[:, :1], per_picture, random)
        for plane in (1, 2):
            chroma.add(around[:, plane : plane + 1], wrong[:, plane : plane + 1], per_picture, random)
    for regression in (luma, chroma):
        regression.set(schedule.ridge)


class _Regression:
    """Sums of products of windows, of one plane or of several that share their filters."""

    def __init__(self, filters: Filters) -> None:
        self.filters, layer = filters, filters.positions
        self.inputs = layer.weight[0].numel() + 1
        self.gram = torch.zeros(self.inputs, self.inputs, dtype=torch.float64)
        self.products = torch.zeros(self.inputs, layer.out_channels, dtype=torch.float64)
        self.count = 0

    def add(self, around: Tensor, wrong: Tensor, most: int, random: np.random.Generator) -> None:
        layer = self.filters.positions
        (kernel, _), side = layer.kernel_size, math.isqrt(layer.out_channels)
        if self.filters.halved:
            around = means(around)
        windows = F.unfold(around, kernel, stride=JPEG)[0].T
        wanted = F.unfold(wrong, side, stride=side)[0].T
        chosen = torch.from_numpy(random.permutation(len(windows))[:most])
        inputs = torch.cat([windows[chosen], torch.ones(len(chosen), 1)], 1)
        self.gram += (inputs.T @ inputs).double()
        self.products += (inputs.T @ wanted[chosen]).double()
        self.count += len(chosen)

    def set(self, ridge: float) -> None:
        layer, penalty = self.filters.positions, torch.full((self.inputs,), ridge * self.count, dtype=torch.float64)
        penalty[-1] = 0
        found = torch.linalg.solve(self.gram + penalty.diag(), self.products).float()
        layer.weight.copy_(found[:-1].T.reshape(layer.weight.shape))
        assert layer.bias is not None
        layer.bias.copy_(found[-1])


# ---- convolutions ---------------------------------------------------------------------------------------------------


def train_body(
    net: Remover,
    made: Sequence[Pair],
    schedule: Schedule,
    random: np.random.Generator,
    say: Callable[[int, float], object],
) -> None:
    """The convolutions, which begin with no change; the filters stay as they are."""
    convolutions = [layer for layer in net.body if isinstance(layer, nn.Conv2d)]
    for layer in convolutions:
        nn.init.kaiming_normal_(layer.weight, SLOPE)  # torch's own start loses two fifths of a signal each time
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
    nn.init.zeros_(convolutions[-1].weight)
    net.body.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # twice as fast
    own = list(net.body.parameters())
    net.luma.requires_grad_(False)
    net.chroma.requires_grad_(False)
    adam = torch.optim.Adam(own, schedule.learning)
    total = 0.0
    for step in range(schedule.steps):
        for group in adam.param_groups:
            group["lr"] = schedule.learning * 0.5 * (1 + math.cos(math.pi * step / schedule.steps))
        chosen = (made[int(i)] for i in random.integers(len(made), size=schedule.batch))
        crops = [_crop(net, pair, schedule.crop, random) for pair in chosen]
        around, wanted = (torch.cat(part) for part in zip(*crops, strict=True))
        around = around.contiguous(memory_format=torch.channels_last)
        error = (colours(net.inside(around)) - colours(wanted)).square().mean()
        adam.zero_grad()
        error.backward()  # type: ignore[no-untyped-call]
        adam.step()
        total += float(error.detach())
        if step % 100 == 99:
            say(step + 1, total / 100)
            total = 0.0


def _crop(net: Remover, pair: Pair, side: int, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A part on the grid with its margin, and what it was."""
    shape = net.shape
    top, left = (int(random.integers((n - side) // shape.grid + 1)) * shape.grid for n in pair.original.shape[:2])
    margin = shape.margin
    height, width = pair.original.shape[:2]
    high = slice(max(0, top - margin), min(height, top + side + margin))
    wide = slice(max(0, left - margin), min(width, left + side + margin))
    x = planes(pair.decoded[high, wide])
    lacks = (max(0, margin - left), max(0, left + side + margin - width),
             max(0, margin - top), max(0, top + side + margin - height))  # fmt: skip
    around = F.pad(x, lacks, "replicate")
    return around, planes(pair.original[top : top + side, left : left + side])
