"""Trains the small checkpoints: `python -m examples.kim2026.train elic`, minutes on one core."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch

from examples.lic.training import Schedule, train

from .checkpoint import path_of, save
from .coding import CODECS, tables_of

SMALL: dict[str, dict[str, Any]] = {
    "mean-scale": {"N": 16, "M": 24},
    "checkerboard": {"N": 16, "M": 24},
    "cheng2020": {"N": 16},
    "elic": {"N": 16, "M": 24, "groups": [2, 2, 4, 6, 10], "widths": [16, 12]},
}
"""Channels of the checkpoints; the published codecs have 128 to 320."""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.kim2026.train", description=__doc__)
    parser.add_argument("codec", choices=CODECS)
    parser.add_argument("--steps", type=int, default=Schedule.steps)
    parser.add_argument("--seed", type=int, default=Schedule.seed)
    parser.add_argument("--rate", type=float, default=Schedule.rate, help="larger for better pictures and more bits")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the checkpoint of the examples when absent")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(given.seed)
    codec = CODECS[given.codec](**SMALL[given.codec])
    start = time.perf_counter()
    train(codec, Schedule(steps=given.steps, seed=given.seed, rate=given.rate))
    own = f"{given.codec} --steps {given.steps} --seed {given.seed} --rate {given.rate}"
    path = given.out or path_of(given.codec)
    path.parent.mkdir(exist_ok=True)
    made = f"python -m examples.kim2026.train {own}"
    save(path, given.codec, SMALL[given.codec], codec, tables_of(codec), made, halved=True)
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
