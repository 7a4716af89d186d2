"""How well is memory predicted? What one run of a whole net takes, measured, over what is predicted for it.

    python benchmarks/memory.py [--nets ...] [--size 512 768] [--types float32] [--threads 1] [--out FILE]

plan: what `overlapcalc.plan` says (`full_memory`). with kernels: `liveness.held`, which adds what kernels allocate
while they run.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the repository, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch

import overlapcalc as oc
from benchmarks.liveness import held
from benchmarks.page import table
from benchmarks.subjects import build, names, shape
from benchmarks.tiling_worker import Task, measured
from benchmarks.tilingpage import MIB, machine, versions


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/memory.py", description="Memory, measured and predicted.")
    parser.add_argument("--nets", nargs="+", choices=names(), default=names(), metavar="NET")
    parser.add_argument("--size", nargs=2, type=int, default=(512, 768), metavar=("H", "W"), help="of the image")
    parser.add_argument("--types", nargs="+", choices=["float32", "float64"], default=["float32"], metavar="TYPE")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the page, in markdown")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)  # which kernels are used depends on it
    cells = [["net", "type", "measured", "plan", "ratio", "with kernels", "ratio"]]
    for dtype in options.types:
        for net in options.nets:
            cells.append([net, dtype, *_figures(net, dtype, options)])
            print(", ".join(cells[-1]), flush=True)
    height, width = options.size
    about = f"MiB that one run of the whole net takes on an image of {height}x{width}, over what is predicted; see"
    lines = ["# Memory, measured and predicted", "", f"{versions()}. {machine(options.threads)}.", ""]
    text = "\n".join([*lines, f"{about} `benchmarks/memory.py`.", "", *table(cells)]) + "\n"
    print(text)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text)
    return 0


def _figures(net: str, dtype: str, options: argparse.Namespace) -> list[str]:
    given = shape(net, *options.size)
    found = measured(Task("memory", net, given, dtype=dtype, threads=options.threads))
    if "error" in found:
        return [str(found["error"]), "", "", "", ""]
    growth: int = found["growth"]
    figures = [f"{growth / MIB:.1f}"]
    kernels = held(build(net), given, dtype=getattr(torch, dtype)).peak
    for said in (_planned(net, given, dtype), kernels):
        figures += ["none", ""] if said is None else [f"{said / MIB:.1f}", f"{growth / said:.2f}"]
    return figures


def _planned(net: str, given: tuple[int, ...], dtype: str) -> int | None:
    """None where there is no plan: a net that cannot be run by blocks, or whose memory is not predicted."""
    try:
        made = oc.plan(build(net), given, dtype=dtype)
    except oc.ObstacleError:
        return None
    return made.full_memory.activations if made.full_memory else None


if __name__ == "__main__":
    raise SystemExit(main())
