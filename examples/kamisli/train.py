"""Trains a small codec: `python -m examples.kamisli train --rate 435.6675 --out FILE`, minutes on one core."""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import torch

from examples.lic.pictures import Picture, dead_leaves, waves

from .checkpoint import SHIPPED, save
from .coding import tables_of_scales
from .nets import SMALL, nets
from .photographs import HELD_OUT, TRAINING, halved, read
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
    parser.add_argument("--rate", type=float, default=Schedule.rate, help="larger for better pictures and more bits")
    parser.add_argument("--seed", type=int, default=Schedule.seed)
    parser.add_argument("--out", type=Path, metavar="FILE", default=SHIPPED, help="that of the example if absent")
    parser.set_defaults(does=_train)


def _train(given: argparse.Namespace) -> str:
    torch.set_num_threads(1)
    pictures, held_out = training_pictures(), [read(photograph) for photograph in HELD_OUT]
    start = time.process_time()
    torch.manual_seed(given.seed)
    own = nets(SMALL)

    def say(done: Iteration) -> None:
        opened, closed = _words(done.open), _words(done.closed)
        print(f"iteration {done.number}: open {opened}, closed {closed}, {time.process_time() - start:.0f} s")

    measured = train(own, SMALL.block, pictures, held_out, Schedule(rate=given.rate, seed=given.seed), say=say)
    given.out.parent.mkdir(exist_ok=True)
    made = f"python -m examples.kamisli train --rate {given.rate} --seed {given.seed}"
    save(given.out, SMALL, own, tables_of_scales(), made, measured)
    return f"{given.out.name}: {given.out.stat().st_size / 1024:.0f} KiB, {time.process_time() - start:.0f} s"


def _words(cost: Cost) -> str:
    return f"{cost.cost:.4f} ({cost.bits:.3f} bpp, {-10 * math.log10(cost.error):.2f} dB)"
