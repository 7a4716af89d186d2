"""Makes checkpoints on one core: `train --quality 10` the removers of a quality, in minutes, `train-predictor` the
predictor, in two."""

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
from overlapcalc.io.atomic import REWRITTEN, free_place

from .checkpoint import CHECKPOINT, FOLDER, PREDICTOR, load, load_predictor, path_of, save, save_predictor
from .colour import picture, planes
from .fitting import Fitting, fit
from .jpeg import QUALITIES
from .predictor import Predictor
from .remover import Remover, Shape
from .training import Schedule, jpeg, pairs, train, turned

WAYS = 4
"""Of the eight to turn a picture: what the predictor is trained on. More of them change it little."""


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
    parser = commands.add_parser("train-predictor", help="makes the checkpoint of predictive coding")
    parser.add_argument("--rounds", type=int, default=Fitting.rounds, help="fits, each on what the one before decodes")
    parser.add_argument("--ways", type=int, choices=range(1, 9), default=WAYS, help="of the eight to turn each picture")
    parser.add_argument("--out", type=Path, metavar="FILE", default=PREDICTOR, help="that of the example if absent")
    parser.set_defaults(does=_train_predictor)


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


def predictor_pictures(ways: int) -> list[Picture]:
    """Each picture some ways, which go on from picture to picture, so that all eight occur."""
    pictures = training_pictures(Schedule.crop)
    return [list(turned(own))[(i * ways + way) % 8] for i, own in enumerate(pictures) for way in range(ways)]


def _train_predictor(given: argparse.Namespace) -> str:
    if given.rounds < 1:
        raise InputError(f"--rounds: {given.rounds}; expected 1 or more")
    free_place(given.out, CHECKPOINT, REWRITTEN)  # before minutes of work
    torch.set_num_threads(1)
    start = time.process_time()
    net = Predictor()

    def say(number: int, size: float) -> None:
        print(f"round {number}: {size:.0f} bytes a picture, {time.process_time() - start:.0f} s", flush=True)

    fit(net, predictor_pictures(given.ways), Fitting(rounds=given.rounds), say=say)
    made = f"python -m examples.blockcnn train-predictor --rounds {given.rounds} --ways {given.ways}"
    save_predictor(given.out, net, made)
    load_predictor(given.out)
    return f"{given.out.name}: {given.out.stat().st_size / 1024:.0f} KiB, {time.process_time() - start:.0f} s"
