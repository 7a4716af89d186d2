"""A hyperprior codec at 3840x2160: whole, and as a stream from one mapped file to another.

    python -m benchmarks.cost.streaming [--size 2160 3840] [--channels 192] [--bands 16 32 64] [--axes W H]
                                        [--nets encoder decoder] [--threads 2] [--out FILE]

Prints the page docs/results/streaming.md. Every measurement has a fresh process: seconds of one run after planning and
a small warm-up, and the growth of the process's high-water mark of memory during it. The output of a stream is compared
with that of the whole run, sample by sample. "Of a matrix product" is the rate of multiply-accumulates over that of one
product of two 4096 x 4096 matrices on the same threads. Exit code 1: an error above 1e-5.
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import torch

from ..highwater import MIB
from ..page import origin, page, publish, table
from ..process import Work, apart
from . import codec_runs
from .rates import OF_A_PRODUCT, matrix_product

Record = dict[str, Any]
MOST_ERROR = 1e-5
HEADS = [
    "net", "way", "rows", "MACs", "seconds", "of whole", OF_A_PRODUCT, "MiB", "of whole", "plan, MiB", "error",
]  # fmt: skip
WANTED = "For the encoder, at most 0.65 of the time and 2.5% of the memory are wanted."


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.cost.streaming", description=__doc__)
    parser.add_argument("--size", nargs=2, type=int, default=(2160, 3840), metavar=("H", "W"))
    parser.add_argument("--channels", type=int, default=192)
    parser.add_argument("--bands", nargs="+", type=int, default=[16, 32, 64], metavar="ROWS")
    parser.add_argument("--axes", nargs="+", choices=("H", "W"), default=["W", "H"], help="along which streams go")
    parser.add_argument("--nets", nargs="+", choices=codec_runs.NETS, default=list(codec_runs.NETS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    source = origin("benchmarks.cost.streaming", argv, threads=options.threads)
    rows, rate, good = [HEADS], matrix_product(), True
    print(f"a matrix product: {rate / 1e9:.1f} GMAC/s", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for net in options.nets:
            task = {"net": net, "size": options.size, "channels": options.channels, "folder": folder}
            whole = _measured(codec_runs.whole, task, options.threads)
            rows.append([net, "whole", "", "1.000", *_cells(whole, whole, rate), ""])
            print(", ".join(rows[-1]), flush=True)
            for axis, band in product(options.axes, options.bands):
                found = _measured(codec_runs.stream, {**task, "axis": axis, "rows": band}, options.threads)
                macs, error = f"{found['macs']:.3f}", f"{found['differs']:.1e}"
                rows.append([net, f"stream along {axis}", str(band), macs, *_cells(found, whole, rate), error])
                print(", ".join(rows[-1]), flush=True)
                good = good and found["differs"] <= MOST_ERROR
    height, width = options.size
    about = f"Hyperprior transforms, {options.channels} channels, GDN, on {width}x{height} in float32. {WANTED}"
    publish(page("A codec as a stream", source, [about, "", *table(rows)]), options.out)
    return 0 if good else 1


def _measured(work: Work, task: Record, threads: int) -> Record:
    """Memory and time by processes of their own: the settings that make memory repeat make it slow."""
    quiet = apart(work, threads=threads, quiet=True, **task)
    plain = apart(work, threads=threads, **task)
    for record in (quiet, plain):
        if "error" in record:
            raise SystemExit(f"{work.__name__} of {task}: {record['error']}")
    return {**plain, "growth": quiet["growth"]}


def _cells(found: Record, whole: Record, rate: float) -> list[str]:
    return [
        f"{found['seconds']:.1f}", f"{found['seconds'] / whole['seconds']:.2f}",
        f"{whole['work'] / found['seconds'] / rate:.2f}",
        f"{found['growth'] / MIB:.0f}", f"{found['growth'] / whole['growth']:.2%}", f"{found['plan'] / MIB:.0f}",
    ]  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
