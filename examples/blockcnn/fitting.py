"""Training of the predictor: weighted ridge regressions on decoded neighbours, which each round makes anew.

A predictor that was fitted on originals meets decoded blocks when it runs, and its own errors in them. So its rounds
follow Kamisli's asymptotic closed loop: fit, all blocks at once; predict from the samples decoded last, and decode the
residuals of that; fit on what came of it. The samples come near those of the closed loop, without its order.

Least squares alone would serve the few blocks with the largest residuals. Bits grow with their logarithm instead, so a
block counts by the inverse of what the round before left of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from examples.lic.pictures import Picture

from .predictive import based, beyond, channels
from .predictor import PLACES, READ, SAMPLES, TAPS, Predictor, places, set_filters
from .residual import LEAST, MOST, read, to_channels, to_planes, written

INPUTS = len(TAPS) * SAMPLES


@dataclass(frozen=True)
class Fitting:
    """What a training run is. The same values on the same machine give the same weights."""

    qualities: tuple[int, ...] = (10, 20, 30, 40)
    """Of libjpeg: every picture is coded with each."""
    rounds: int = 3
    passes: int = 2
    """In a round, after the fit."""
    ridge: float = 10.0
    """Added to the variances of what is read, in levels squared."""
    energy: float = 30.0
    """A block counts 1 / (1 + its mean squared residual / this)."""


class Example(NamedTuple):
    """A picture, coded with a quality, and what it was decoded to last: as `channels` gives them, but in bytes."""

    original: Tensor
    decoded: Tensor
    quality: int

    def samples(self) -> tuple[Tensor, Tensor]:
        return self.original.double(), self.decoded.double()


def example(original: Tensor, decoded: Tensor, quality: int) -> Example:
    return Example(original.to(torch.int8), decoded.to(torch.int8), quality)


class Filter(NamedTuple):
    """Of one kind of blocks: (inputs, 64), and 64 constants."""

    weight: Tensor
    constant: Tensor

    def __call__(self, around: Tensor) -> Tensor:
        return around @ self.weight + self.constant


Filters = Mapping[tuple[bool, int], Filter]
"""By whether they are those of luma, and by the place in PLACES."""


@torch.no_grad()
def fit(
    net: Predictor,
    pictures: Sequence[Picture],
    fitting: Fitting,
    *,
    say: Callable[[int, float], object] = lambda *_: None,
) -> None:
    """Trains in place. say: told a round and the bytes of a picture after it."""
    examples = [_coded(channels(own), quality) for own in pictures for quality in fitting.qualities]
    filters: Filters = {}
    for number in range(fitting.rounds):
        filters = _fitted(examples, filters, fitting)
        total = 0
        for _ in range(fitting.passes):
            passed = [_passed(before, filters) for before in examples]
            examples, total = [after for after, _ in passed], sum(size for _, size in passed)
        say(number, total / len(examples))
    for luma in (True, False):
        set_filters(net, {place: filters[luma, k] for k, place in enumerate(PLACES)}, luma=luma)


def _coded(x: Tensor, quality: int) -> Example:
    """As plain JPEG decodes it, to begin with."""
    planes = to_planes(x)
    data = written(planes, quality)
    return example(x, to_channels(read(data, _size(planes))), quality)


def _passed(before: Example, filters: Filters) -> tuple[Example, int]:
    """The picture once more, all blocks at once; and the bytes of its residual."""
    (x, decoded), quality = before.samples(), before.quality
    predicted = torch.clamp(torch.round(_predicted(decoded, filters)), LEAST, MOST)
    base = based(predicted, beyond(x - predicted, 1)[:, None])
    residual = to_planes(x - base)
    data = written(residual, quality)
    back = to_channels(read(data, _size(residual)))
    return example(x, torch.clamp(base + back, LEAST, MOST), quality), len(data)


def _size(planes: Tensor) -> tuple[int, int]:
    return planes.shape[2], planes.shape[3]


def _predicted(decoded: Tensor, filters: Filters) -> Tensor:
    kinds = _kinds(decoded)
    found = torch.zeros_like(decoded)
    for plane, own in enumerate(decoded.chunk(3, 1)):
        around, out = neighbours(own), found[0, plane * SAMPLES : (plane + 1) * SAMPLES].flatten(1)
        for k in range(len(PLACES)):
            out[:, kinds == k] = filters[plane == 0, k](around[kinds == k]).T
    return found


def neighbours(plane: Tensor) -> Tensor:
    """(1, 64, rows, columns) to (blocks, inputs): the neighbours of each block in the order of TAPS; 0 beyond the
    border."""
    rows, columns = plane.shape[2:]
    padded = F.pad(plane, (1, 1, 1, 0))
    parts = [padded[0, :, 1 + i : 1 + i + rows, 1 + j : 1 + j + columns].flatten(1) for i, j in TAPS]
    return torch.cat(parts).T


def _kinds(decoded: Tensor) -> Tensor:
    return places(*decoded.shape[2:])[0].argmax(0).flatten()


def _fitted(examples: Sequence[Example], before: Filters, fitting: Fitting) -> Filters:
    keys = [(luma, k) for luma in (True, False) for k in range(len(PLACES))]
    sums = {key: _Sums(PLACES[key[1]]) for key in keys}
    for own in examples:
        samples = own.samples()
        original, decoded = (x.chunk(3, 1) for x in samples)
        kinds = _kinds(samples[1])
        for plane in range(3):
            around, wanted = neighbours(decoded[plane]), original[plane][0].flatten(1).T
            for k in range(len(PLACES)):
                key = plane == 0, k
                sums[key].add(around[kinds == k], wanted[kinds == k], before.get(key), fitting.energy)
    return {key: sum_.solved(fitting.ridge) for key, sum_ in sums.items()}


class _Sums:
    """Of products of what is read and wanted, for one kind of blocks: only neighbours that it has are read."""

    def __init__(self, place: str) -> None:
        self.read = torch.cat([torch.arange(tap * SAMPLES, (tap + 1) * SAMPLES) for tap in READ[place]])
        inputs = len(self.read) + 1
        self.gram = torch.zeros(inputs, inputs, dtype=torch.float64)
        self.products = torch.zeros(inputs, SAMPLES, dtype=torch.float64)
        self.total = 0.0

    def add(self, around: Tensor, wanted: Tensor, before: Filter | None, energy: float) -> None:
        weights = torch.ones(len(around), 1, dtype=torch.float64)
        if before is not None:
            weights = 1 / (1 + (wanted - before(around)).square().mean(1, keepdim=True) / energy)
        inputs = torch.cat([around[:, self.read], torch.ones(len(around), 1, dtype=torch.float64)], 1).float()
        weighted = inputs * weights.float()
        self.gram += (weighted.T @ inputs).double()
        self.products += (weighted.T @ wanted.float()).double()
        self.total += float(weights.sum())

    def solved(self, ridge: float) -> Filter:
        """Constants are not held back by the ridge; 1 keeps what no block was seen of at 0."""
        penalty = torch.full((len(self.gram),), ridge * self.total + 1, dtype=torch.float64)
        penalty[-1] = 1
        found = torch.linalg.solve(self.gram + penalty.diag(), self.products)
        weight = torch.zeros(INPUTS, SAMPLES, dtype=torch.float64)
        weight[self.read] = found[:-1]
        return Filter(weight, found[-1])
