"""How well is memory predicted? What a run takes, measured in a process of its own, over what the plan says.

    python benchmarks/memory.py [--nets ...] [--size 1024 1536] [--block 256] [--band 32] [--types float32] [--out FILE]

For the whole net and for every schedule: `plan.full_memory` and `plan.memory`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the repository, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch

import overlapcalc as oc
from benchmarks.page import table
from benchmarks.subjects import build, names, shape
from benchmarks.tiling_worker import Task, measured
from benchmarks.tilingpage import MIB, machine, versions


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/memory.py", description="Memory, measured and predicted.")
    parser.add_argument("--nets", nargs="+", choices=names(), default=names(), metavar="NET")
    parser.add_argument("--size", nargs=2, type=int, default=(1024, 1536), metavar=("H", "W"), help="of the image")
    parser.add_argument("--block", type=int, default=256, help="of crop and trim")
    parser.add_argument("--band", type=int, default=32, help="of stream")
    parser.add_argument("--types", nargs="+", choices=["float32", "float64"], default=["float32"], metavar="TYPE")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the page, in markdown")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)  # which kernels are used depends on it
    cells = [["net", "type", "way", "block", "measured", "plan", "ratio"]]
    for dtype in options.types:
        for net in options.nets:
            for way, block in (("", 0), ("ours", options.block), ("trim", options.block), ("stream", options.band)):
                cells.append([net, dtype, NAMES[way], str(block or ""), *_figures(net, dtype, way, block, options)])
                print(", ".join(cells[-1]), flush=True)
    height, width = options.size
    about = f"MiB that one run takes on an image of {height}x{width}, whole and by blocks, over what the plan says; see"
    lines = ["# Memory, measured and predicted", "", f"{versions()}. {machine(options.threads)}.", ""]
    text = "\n".join([*lines, f"{about} `benchmarks/memory.py`.", "", *table(cells)]) + "\n"
    print(text)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text)
    return 0


SCHEDULES = {"": "crop", "ours": "crop", "trim": "trim", "stream": "stream"}
"""Tools of tilers.py; "" is the whole net."""
NAMES = {"": "whole", "ours": "crop", "trim": "trim", "stream": "stream"}


def _figures(net: str, dtype: str, way: str, block: int, options: argparse.Namespace) -> list[str]:
    given = shape(net, *options.size)
    said = _planned(net, given, dtype, way, block)
    if way and said is None:
        return ["", "none", ""]
    task = Task("memory", net, given, tool=way or None, block=block, dtype=dtype, threads=options.threads)
    found = measured(task)
    if "error" in found:
        return [str(found["error"]), "", ""]
    growth: int = found["growth"]
    return [f"{growth / MIB:.1f}", *(["none", ""] if said is None else [f"{said / MIB:.1f}", f"{growth / said:.2f}"])]


def _planned(net: str, given: tuple[int, ...], dtype: str, way: str, block: int) -> int | None:
    """None where there is no plan: a net that cannot be run by blocks, or whose memory is not predicted."""
    try:
        made = oc.plan(build(net), given, dtype=dtype, schedule=SCHEDULES[way], block=block or None)
    except oc.ObstacleError:
        return None
    memory = made.memory if way else made.full_memory
    return memory.activations if memory else None


if __name__ == "__main__":
    raise SystemExit(main())
