"""Training of a small codec on pictures that are made from a seed: minutes on one core."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .codec import Codec
from .pictures import dead_leaves, waves

LEARNING = 2e-3
"""Of Adam, until 60 % of the steps; then 0.3 of it, in the end 0.1."""


@dataclass(frozen=True)
class Schedule:
    """What a training run is. The same values on the same machine give the same weights."""

    steps: int = 2500
    seed: int = 1
    rate: float = 0.1
    """Of the loss, bits per pixel + rate * 255^2 * mean squared error: larger for better pictures and more bits."""
    batch: int = 4
    crop: int = 128
    pictures: int = 48
    """Made once, 256x256, every third of them waves; every step takes crops, turned, mirrored and coloured."""


def train(codec: Codec, schedule: Schedule, *, say: Callable[[str], object] = print) -> None:
    """Trains in place, and leaves the codec in eval mode."""
    random = np.random.default_rng(schedule.seed)
    made = [
        (dead_leaves if i % 3 else waves)(256, 256, seed=1000 * schedule.seed + i) for i in range(schedule.pictures)
    ]
    pictures = torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2)
    quantiles = [p for name, p in codec.named_parameters() if name.endswith("quantiles")]
    weights = [p for name, p in codec.named_parameters() if not name.endswith("quantiles")]
    main, aside = torch.optim.Adam(weights, lr=LEARNING), torch.optim.Adam(quantiles, lr=1e-2)
    codec.train()
    for step in range(schedule.steps):
        done = step / schedule.steps
        for group in main.param_groups:
            group["lr"] = LEARNING * (1 if done < 0.6 else 0.3 if done < 0.85 else 0.1)
        x = _crops(pictures, schedule, random)
        estimate = codec(x)
        bits = -(estimate.y.log2().sum() + estimate.z.log2().sum()) / (x.shape[0] * x.shape[2] * x.shape[3])
        error = (estimate.picture - x).square().mean()
        loss = bits + schedule.rate * 255**2 * error
        main.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        main.step()
        aside.zero_grad()
        codec.parts.entropy_bottleneck.quantile_loss().backward()  # type: ignore[no-untyped-call]
        aside.step()
        if step % 100 == 0 or step == schedule.steps - 1:
            say(f"step {step}: {bits.item():.3f} bpp, {-10 * math.log10(error.item()):.2f} dB")
    codec.eval()


def _crops(pictures: Tensor, schedule: Schedule, random: np.random.Generator) -> Tensor:
    found = []
    for _ in range(schedule.batch):
        picture = pictures[int(random.integers(len(pictures)))]
        top, left = (int(random.integers(n - schedule.crop + 1)) for n in picture.shape[1:])
        part = picture[:, top : top + schedule.crop, left : left + schedule.crop]
        if random.random() < 0.5:
            part = part.flip(2)
        part = part.rot90(int(random.integers(4)), (1, 2)).float() / 255
        found.append(_coloured(part, random) if random.random() < 0.5 else part)
    return torch.stack(found)


def _coloured(part: Tensor, random: np.random.Generator) -> Tensor:
    """Each channel in a contrast of its own, turned over or flat, too, so that colours fill the whole cube: a codec
    that never saw a pure red makes brown of it."""
    contrast, middle = (torch.from_numpy(random.uniform(*ends, (3, 1, 1))).float() for ends in ((-2, 2), (0, 1)))
    return torch.clamp(middle + contrast * (part - part.mean()), 0, 1)
