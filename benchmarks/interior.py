"""What an interior block costs: multiply-accumulates over the block's share of the whole image, per schedule.

    python benchmarks/interior.py [--blocks 128 256] [--out FILE]

From the graph alone. The image has six blocks to a side, so that the largest block has no border near; the largest band
of a stream is its first, which runs ahead for all that follow.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the repository, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch

import overlapcalc as oc
from benchmarks.fournets import build, names, shape
from benchmarks.page import table

SIDE = 6
SCHEDULES = ("crop", "trim", "stream")
WANTED = {("stack", 128): 1.16, ("stack", 256): 1.08, ("encoder", 128): 1.62, ("encoder", 256): 1.29,
          ("decoder", 128): 1.09, ("decoder", 256): 1.05}  # fmt: skip
"""Of trim, at most."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/interior.py", description=__doc__)
    parser.add_argument("--blocks", nargs="+", type=int, default=[128, 256])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(argv)
    heads = [f"{schedule}, {what}" for schedule in SCHEDULES for what in ("macs", "kernel_macs")]
    cells, good = [["net", "block", *heads, "wanted of trim"]], True
    for name in names():
        for block in options.blocks:
            ratios = [r for schedule in SCHEDULES for r in interior(name, block, schedule)]
            wanted = WANTED.get((name, block))
            good = good and (wanted is None or ratios[2] <= wanted)
            cells.append([name, str(block), *(f"{r:.3f}" for r in ratios), "" if wanted is None else f"{wanted:g}"])
    about = (
        "`macs`: output samples times the taps of their phase. `kernel_macs`: what the calls made compute; of a "
        "transposed convolution by trim and stream whole periods of its phases, by crop all taps of every input sample."
    )
    head = f"overlapcalc {oc.__version__}, torch {torch.__version__}."
    lines = ["# What an interior block costs", "", "    python benchmarks/interior.py", "", head, ""]
    lines += [f"{about} See `benchmarks/interior.py`.", ""]
    text = "\n".join([*lines, *table(cells)]) + "\n"
    print(text)
    if options.out is not None:
        options.out.write_text(text)
    return 0 if good else 1


def interior(name: str, block: int, schedule: str) -> tuple[float, float]:
    """macs and kernel_macs of the largest block over its share of the whole image's."""
    size = SIDE * block
    made = oc.plan(build(name), shape(name, size, size), block=block, schedule=schedule)
    count = SIDE if schedule == "stream" else SIDE * SIDE
    assert made.count == count
    one, full = made.largest, made.full
    return one.macs * count / full.macs, one.kernel_macs * count / full.kernel_macs


if __name__ == "__main__":
    raise SystemExit(main())
