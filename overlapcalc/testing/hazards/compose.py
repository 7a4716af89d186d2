"""Nets of one hazard and a few plain layers before, after and beside it, by seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from torch import nn

from ..modules import Add, Cat, Multiply, Slice
from ..nets import Call, Net, through
from .hazard import Hazard, drawn

LEAST = 16
"""Every net runs on images with this many samples a side."""
MOST_CHANNELS = 24
TRIED = 50


def hazards(family: str, count: int = 50, *, seed: int = 0) -> list[Callable[[int], nn.Module]]:
    """Random hazards of a family, each to be called with a number of channels: for `cnns(extra=...)`.

    >>> [make(3) for make in hazards("factors", 1)]
    [Hazard(factors.nearest 0.9 recomputed, same, -1)]
    """
    rng = random.Random(f"{family} {seed}")
    found: list[Callable[[int], nn.Module]] = []
    for _ in range(count):
        name, *figures = drawn(family, rng)
        found.append(partial(_made, (name, *figures)))
    return found


def _made(figures: tuple[str, ...], channels: int) -> nn.Module:
    return Hazard(channels, *figures)  # type: ignore[arg-type]


def hazard_net(family: str, seed: int) -> Net:
    """The net of a seed: one hazard of a family, with plain layers around it. It runs at 16 x 16 in float64.

    >>> print(repr(hazard_net("constants", 4)))
    positive(
        Cat(
            Hazard(2, 'constants.encoder_layer', 'input', 'thirds', -4, 'columns'),
            nn.Conv2d(2, 2, 3, padding=1),
        ),
        seed=4,
    )
    """
    rng = random.Random(f"{family} {seed}")
    for _ in range(TRIED):
        channels = rng.randint(1, 3)
        calls: list[Call] = []
        width: int | None = channels
        for make in [*_some(rng), _hazard(family), *_some(rng)]:
            if width is not None:
                calls.append(make(width, rng))
                width = _width(calls, channels)
        if width is not None:
            return Net(calls[0] if len(calls) == 1 else Call.of(nn.Sequential, *calls), channels, "HW", seed)
    raise RuntimeError(f"no net of {family} with seed {seed} runs at {LEAST} x {LEAST}")


def _width(calls: list[Call], channels: int) -> int | None:
    """The output channels of the calls, one after the other; None where they do not run."""
    found = through(Call.of(nn.Sequential, *calls).build().double().eval(), (1, channels, LEAST, LEAST))
    return found[1] if found is not None and len(found) == 4 and found[1] <= MOST_CHANNELS else None


Maker = Callable[[int, random.Random], Call]


def _some(rng: random.Random) -> list[Maker]:
    return [rng.choice(LAYERS) for _ in range(rng.choice([0, 0, 1, 1, 2]))]


def _hazard(family: str) -> Maker:
    def make(c: int, rng: random.Random) -> Call:
        call = Call.of(Hazard, c, *drawn(family, rng))
        beside = rng.choice([None, None, None, Add, Multiply, Cat])
        if beside is None:
            return call
        other = Call.of(nn.Conv2d, c, c, 3, padding=1) if rng.random() < 0.5 else Call.of(nn.Identity)
        return Call.of(beside, *(rng.sample([call, other], 2)))

    return make


def _conv(c: int, rng: random.Random) -> Call:
    return Call.of(nn.Conv2d, c, rng.randint(1, 3), 3, padding=rng.randint(0, 1))


def _strided(c: int, rng: random.Random) -> Call:
    return Call.of(nn.Conv2d, c, rng.randint(1, 3), rng.choice([2, 3]), stride=2, padding=1)


def _transposed(c: int, rng: random.Random) -> Call:
    return Call.of(nn.ConvTranspose2d, c, rng.randint(1, 2), rng.choice([2, 4]), stride=2, padding=rng.randint(0, 1))


def _pool(c: int, rng: random.Random) -> Call:
    return Call.of(rng.choice([nn.MaxPool2d, nn.AvgPool2d]), rng.choice([2, 3]), rng.choice([1, 2]))


def _up(c: int, rng: random.Random) -> Call:
    return Call.of(nn.Upsample, scale_factor=2)


def _cut(c: int, rng: random.Random) -> Call:
    return Call.of(Slice, rng.randint(0, 2), rng.choice([None, -1]), rng.choice([1, 1, 2]))


def _sigmoid(c: int, rng: random.Random) -> Call:
    return Call.of(nn.Sigmoid)


def _around(c: int, rng: random.Random) -> Call:
    """Down by two and up again."""
    return Call.of(
        nn.Sequential,
        Call.of(nn.Conv2d, c, 2, 3, stride=2, padding=1),
        Call.of(nn.ConvTranspose2d, 2, 2, 4, stride=2, padding=1),
    )


LAYERS: tuple[Maker, ...] = (_conv, _conv, _strided, _transposed, _pool, _up, _cut, _sigmoid, _around)
