"""What does `overlapcalc.tiled` spend at each call on looking whether the net has changed?

    python -m benchmarks.cost.looking [--modules N] [--megabytes N] [--out FILE]

Prints the page docs/results/looking.md: milliseconds of processor time of one look, the median of several, at a net of
many modules and at one with large buffers, whose bytes are all read.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from torch import nn

from overlapcalc.engine.fingerprint import fingerprint

from ..page import origin, page, publish, table

LOOKS = 9


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.cost.looking", description=__doc__)
    parser.add_argument("--modules", type=int, default=270)
    parser.add_argument("--megabytes", type=int, default=100, help="of buffers, at 10^6 bytes")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(argv)
    source = origin("benchmarks.cost.looking", argv, threads=1)
    many = nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1) for _ in range(options.modules - 1)))
    large = nn.Conv2d(4, 4, 3, padding=1)
    large.register_buffer("table", torch.rand(options.megabytes * 250_000))
    rows = [
        ["net", "milliseconds"],
        [f"{options.modules} modules", f"{milliseconds(many):.1f}"],
        [f"{options.megabytes} MB of buffers", f"{milliseconds(large):.1f}"],
    ]
    publish(page("What a look at a tiled net costs", source, table(rows)), options.out)
    return 0


def milliseconds(model: nn.Module) -> float:
    """Of processor time, for one look. Every look must say that nothing has changed."""
    first, taken = fingerprint(model), []
    assert first is not None
    for _ in range(LOOKS):
        start = time.process_time()
        now = fingerprint(model)
        taken.append(1e3 * (time.process_time() - start))
        assert now is not None
        assert first.same(now)
    return statistics.median(taken)


if __name__ == "__main__":
    raise SystemExit(main())
