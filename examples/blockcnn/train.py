"""Trains the nets of one quality: `python -m examples.blockcnn train --quality 10`, minutes on one core."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from examples.lic.photographs import TRAINING, halved, read
from examples.lic.pictures import Picture, psnr
from overlapcalc import InputError

from .checkpoint import FOLDER, load, path_of, save
from .colour import picture, planes
from .jpeg import QUALITIES
from .remover import Remover, Shape
from .training import Schedule, jpeg, pairs, train


class Gain(NamedTuple):
    """PSNR in dB, of RGB of 8 bits."""

    base: float
    after: float


def training_pictures(side: int) -> list[Picture]:
    """Whole, and halved where that leaves a crop. Raises InputError where the packages with photographs lack."""
    whole = [read(photograph) for photograph in TRAINING]
    return [*whole, *(halved(p) for p in whole if min(p.shape[:2]) >= 4 * side)]


def gain(net: Remover, original: Picture, quality: int) -> Gain:
    """What a net does to a picture that is coded with a quality."""
    decoded = jpeg(original, quality, halved=net.shape.halved)
    with torch.no_grad():
        after = picture(net(planes(decoded)))
    return Gain(psnr(original, decoded), psnr(original, after))


def add_command(commands: Any) -> None:
    """Adds `train` to the commands of a parser."""
    parser = commands.add_parser("train", help="makes the checkpoints of one quality, for 4:4:4 and for 4:2:0")
    parser.add_argument("--quality", type=int, required=True, help="of libjpeg, 1 to 100")
    parser.add_argument("--steps", type=int, default=Schedule.steps, help="of the convolutions, for each of both")
    parser.add_argument("--seed", type=int, default=Schedule.seed)
    parser.add_argument("--out", type=Path, metavar="FOLDER", default=FOLDER, help="that of the example if absent")
    parser.set_defaults(does=_train)


def _train(given: argparse.Namespace) -> str:
    if given.quality not in QUALITIES:
        raise InputError(f"--quality: {given.quality}; expected 1 to 100")
    if given.steps < 0:
        raise InputError(f"--steps: {given.steps}; expected 0 or more")
    torch.set_num_threads(1)
    start = time.process_time()
    schedule = Schedule(given.quality, seed=given.seed, steps=given.steps)
    pictures = training_pictures(schedule.crop)
    given.out.mkdir(parents=True, exist_ok=True)
    paths = [_one(pictures, schedule, given, halved=halved) for halved in (False, True)]
    sizes = ", ".join(f"{path.name} {path.stat().st_size / 1024:.0f} KiB" for path in paths)
    return f"{sizes}, {time.process_time() - start:.0f} s"


def _one(pictures: Sequence[Picture], schedule: Schedule, given: argparse.Namespace, *, halved: bool) -> Path:
    start = time.process_time()
    torch.manual_seed(schedule.seed)
    net = Remover(Shape(halved))

    def say(step: int, error: float) -> None:
        print(f"{'4:2:0' if halved else '4:4:4'}, step {step}: mean squared error {error:.2f}, "
              f"{time.process_time() - start:.0f} s", flush=True)  # fmt: skip

    train(net, pairs(pictures, schedule, halved=halved), schedule, say=say)
    path = path_of(schedule.quality, halved=halved, folder=given.out)
    made = f"python -m examples.blockcnn train --quality {schedule.quality} --steps {given.steps} --seed {given.seed}"
    save(path, net, schedule.quality, made)
    load(path)
    return path
