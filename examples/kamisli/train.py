"""Trains a small codec: `python -m examples.kamisli train --rate 435.6675`, minutes on one core."""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import torch

from examples.lic.photographs import SETS, TRAINING, halved, read
from examples.lic.pictures import Picture, dead_leaves, waves
from overlapcalc.io.atomic import REWRITTEN, free_place

from .checkpoint import CHECKPOINT, Trained, place_of, save
from .coding import tables_of_scales
from .nets import KERNELS, SMALL, nets
from .training import Cost, Iteration, Schedule, train

LEAVES, WAVES = 2, 1
"""Pictures made from a seed that are trained on, too. More of them made the codec worse on photographs."""


def training_pictures() -> list[Picture]:
    """Whole and halved; those in colour count twice. Raises InputError where the packages with photographs lack."""
    whole = [read(photograph) for photograph in TRAINING]
    sizes = [*whole, *(halved(p) for p in whole if min(p.shape[:2]) >= 2 * Schedule.crop)]
    coloured = [p for p in sizes if (p.min(2) != p.max(2)).any()]
    made = [dead_leaves(256, 256, seed=i) for i in range(LEAVES)] + [waves(256, 256, seed=i) for i in range(WAVES)]
    return [*sizes, *coloured, *made]


def add_command(commands: Any) -> None:
    """Adds `train` to the commands of a parser."""
    parser = commands.add_parser("train", help="makes a checkpoint")
    parser.add_argument("--rate", type=_rate, default=Schedule.rate, help="larger for better pictures and more bits")
    parser.add_argument("--seed", type=int, default=Schedule.seed)
    parser.add_argument("--kernels", choices=KERNELS, default=SMALL.kernels)
    parser.add_argument("--out", type=Path, metavar="FILE", help="among the example's, by its rate, if absent")
    parser.set_defaults(does=_train)


def _rate(said: str) -> float:
    rate = float(said)
    if not 1 <= rate <= 1e5:
        raise argparse.ArgumentTypeError(f"{said}; expected a number from 1 to 100,000")
    return rate


def _train(given: argparse.Namespace) -> str:
    torch.set_num_threads(1)
    out = given.out or place_of(given.rate, given.kernels)
    free_place(out, CHECKPOINT, REWRITTEN)  # before minutes of work
    pictures = training_pictures()
    sets = {name: [read(photograph) for photograph in of] for name, of in SETS.items()}
    start = time.process_time()
    torch.manual_seed(given.seed)
    shape = dataclasses.replace(SMALL, kernels=given.kernels)
    own = nets(shape)

    def say(done: Iteration) -> None:
        """Of the pictures that settings are chosen by; those held out are for the finished checkpoint."""
        opened, closed = (_words(cost) for cost in done.sets["validation"])
        seconds = time.process_time() - start
        print(f"iteration {done.number}: open {opened}, closed {closed}, {seconds:.0f} s", flush=True)

    iterations = train(own, shape.block, pictures, sets, Schedule(rate=given.rate, seed=given.seed), say=say)
    seconds = time.process_time() - start
    made = f"python -m examples.kamisli train --rate {given.rate} --seed {given.seed} --kernels {given.kernels}"
    save(out, shape, own, tables_of_scales(), made, Trained(given.rate, seconds, iterations))
    return f"{out.name}: {out.stat().st_size / 1024:.0f} KiB, {seconds:.0f} s"


def _words(cost: Cost) -> str:
    return f"{cost.cost:.4f} ({cost.bits:.3f} bpp, {-10 * math.log10(cost.error):.2f} dB)"
