"""How well is memory predicted? What a run takes, measured in a process of its own, over what the plan says.

    python -m benchmarks.cost.memory [--nets ...] [--size 1024 1536] [--block 256] [--band 32] [--types float32]
                                     [--threads 1] [--out FILE]

Prints the page docs/results/memory.md: for the whole net and for every schedule, against `plan.full_memory` and
`plan.memory`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

import overlapcalc as oc

from ..highwater import MIB, growth_of_run
from ..page import origin, page, publish, table
from ..process import apart
from ..subjects import Run, build, by_blocks, names, shape

WHOLE = "whole"
WAYS = (WHOLE, "crop", "trim", "stream")
TIMEOUT = 300.0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.cost.memory", description="Memory, measured and predicted.")
    parser.add_argument("--nets", nargs="+", choices=names(), default=names(), metavar="NET")
    parser.add_argument("--size", nargs=2, type=int, default=(1024, 1536), metavar=("H", "W"), help="of the image")
    parser.add_argument("--block", type=int, default=256, help="of crop and trim")
    parser.add_argument("--band", type=int, default=32, help="of stream")
    parser.add_argument("--types", nargs="+", choices=["float32", "float64"], default=["float32"], metavar="TYPE")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the page, in markdown")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)  # which kernels are used depends on it
    source = origin("benchmarks.cost.memory", argv, threads=options.threads)
    blocks = {WHOLE: 0, "crop": options.block, "trim": options.block, "stream": options.band}
    rows = [["net", "type", "way", "block", "measured", "plan", "ratio"]]
    for dtype in options.types:
        for net in options.nets:
            given = shape(net, *options.size)
            for way in WAYS:
                figures = _figures(net, given, dtype, way, blocks[way], options.threads)
                rows.append([net, dtype, way, str(blocks[way] or ""), *figures])
                print(", ".join(rows[-1]), flush=True)
    height, width = options.size
    about = f"MiB that one run takes on an image of {height}x{width}, whole and by blocks, over what the plan says."
    publish(page("Memory, measured and predicted", source, [about, "", *table(rows)]), options.out)
    return 0


def _figures(net: str, given: tuple[int, ...], dtype: str, way: str, block: int, threads: int) -> list[str]:
    """Measured, predicted, and the first over the second."""
    planned = _planned(net, given, dtype, way, block)
    if way != WHOLE and planned is None:
        return ["", "none", ""]
    task = {"net": net, "shape": given, "dtype": dtype, "way": way, "block": block}
    record = apart(taken, threads=threads, quiet=True, timeout=TIMEOUT, **task)
    if "error" in record:
        return [str(record["error"]), "", ""]
    growth: int = record["growth"]
    said = ["none", ""] if planned is None else [f"{planned / MIB:.1f}", f"{growth / planned:.2f}"]
    return [f"{growth / MIB:.1f}", *said]


def _planned(net: str, given: tuple[int, ...], dtype: str, way: str, block: int) -> int | None:
    """None where there is no plan: a net that cannot be run by blocks, or whose memory is not predicted."""
    try:
        plan = oc.plan(build(net), given, dtype=dtype, schedule="crop" if way == WHOLE else way, block=block or None)
    except oc.ObstacleError:
        return None
    memory = plan.full_memory if way == WHOLE else plan.memory
    return memory.activations if memory else None


def taken(net: str, shape: Sequence[int], dtype: str, way: str, block: int) -> dict[str, Any]:
    """What one run takes; see `highwater`."""

    def prepare(model: nn.Module) -> Run:
        return model if way == WHOLE else by_blocks(model, tuple(shape), way, block)

    return growth_of_run(net, tuple(shape), getattr(torch, dtype), prepare)


if __name__ == "__main__":
    raise SystemExit(main())
