"""What an interior block costs: multiply-accumulates over the block's share of the whole image, per schedule.

    python -m benchmarks.cost.interior [--blocks 128 256] [--out FILE]

Prints the page docs/results/interior.md, from the graph alone. The image has six blocks to a side, so that the largest
block has no border near; the largest band of a stream is its first, which runs ahead for all that follow. Exit code 1:
trim is above what is wanted.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import overlapcalc as oc

from ..page import origin, page, publish, table
from ..subjects import FOUR, build, shape

SIDE = 6
SCHEDULES = ("crop", "trim", "stream")
WANTED = {("stack", 128): 1.16, ("stack", 256): 1.08, ("encoder", 128): 1.62, ("encoder", 256): 1.29,
          ("decoder", 128): 1.09, ("decoder", 256): 1.05}  # fmt: skip
"""Of trim, at most."""
ABOUT = """
`macs`: output samples times the taps of their phase. `kernel_macs`: what the calls made compute; of a transposed
convolution by trim and stream whole periods of its phases, by crop all taps of every input sample.
"""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.cost.interior", description=__doc__)
    parser.add_argument("--blocks", nargs="+", type=int, default=[128, 256])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(argv)
    source = origin("benchmarks.cost.interior", argv)
    heads = [f"{schedule}, {what}" for schedule in SCHEDULES for what in ("macs", "kernel_macs")]
    rows, good = [["net", "block", *heads, "wanted of trim"]], True
    for name in FOUR:
        for block in options.blocks:
            ratios = {schedule: interior(name, block, schedule) for schedule in SCHEDULES}
            wanted = WANTED.get((name, block))
            good = good and (wanted is None or ratios["trim"][0] <= wanted)
            figures = [f"{ratio:.3f}" for pair in ratios.values() for ratio in pair]
            rows.append([name, str(block), *figures, "" if wanted is None else f"{wanted:g}"])
    body = [" ".join(ABOUT.split()), "", *table(rows)]
    publish(page("What an interior block costs", source, body), options.out)
    return 0 if good else 1


def interior(name: str, block: int, schedule: str) -> tuple[float, float]:
    """macs and kernel_macs of the largest block over its share of the whole image's."""
    size = SIDE * block
    plan = oc.plan(build(name), shape(name, size, size), block=block, schedule=schedule)
    count = SIDE if schedule == "stream" else SIDE * SIDE
    assert plan.count == count
    one, full = plan.largest, plan.full
    return one.macs * count / full.macs, one.kernel_macs * count / full.kernel_macs


if __name__ == "__main__":
    raise SystemExit(main())
