"""How fast single calls of torch are beside a matrix product: what bounds a stream that is made of them.

    python benchmarks/kernels.py [--channels 192] [--threads 2] [--out FILE]

Every call is that of a layer of the hyperprior transforms on a band of 32 rows of a 3840 samples wide image. Rates are
multiply-accumulates per second, the best of five, over that of a product of two 4096 x 4096 matrices.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the repository, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch
import torch.nn.functional as F

from benchmarks.page import table
from benchmarks.tilingpage import machine, versions

TIMES = 5
Layer = tuple[str, int, Callable[[], object]]
"""What it is called, its multiply-accumulates, and the call."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/kernels.py", description=__doc__)
    parser.add_argument("--channels", type=int, default=192)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    n = 4096
    a = torch.rand(n, n)
    with torch.no_grad():
        product = n**3 / fastest(lambda: a @ a)
        rates = [(name, macs / fastest(call) / product) for name, macs, call in layers(options.channels)]
    cells = [["call", "of a matrix product"], *([name, f"{rate:.2f}"] for name, rate in rates)]
    command = f"python benchmarks/kernels.py --channels {options.channels} --threads {options.threads}"
    lines = ["# Single calls", "", f"    {command}", "", f"{versions()}. {machine(options.threads)}.", "",
             f"A matrix product: {product / 1e9:.0f} G multiply-accumulates per second. See `benchmarks/kernels.py`.",
             ""]  # fmt: skip
    text = "\n".join([*lines, *table(cells)]) + "\n"
    print(text)
    if options.out is not None:
        options.out.write_text(text)
    return 0


def layers(c: int) -> list[Layer]:
    """A band of 32 rows of the image is 16 of the first layer's output, 8 of the next."""
    down, up, one = torch.rand(c, c, 5, 5), torch.rand(c, c, 5, 5), torch.rand(c, c, 1, 1)
    fine, coarse = torch.rand(1, c, 19, 1923), torch.rand(1, c, 10, 962)
    transposed = "transposed convolution, 5x5, stride 2"
    return [
        ("convolution, 5x5, stride 2", c * c * 25 * 8 * 960, lambda: F.conv2d(fine, down, stride=2)),
        (transposed, c * c * 25 * 10 * 962, lambda: F.conv_transpose2d(coarse, up, stride=2)),
        ("convolution, 1x1", c * c * 19 * 1923, lambda: F.conv2d(fine, one)),
    ]  # fmt: skip


def fastest(call: Callable[[], object]) -> float:
    """Seconds."""
    best = float("inf")
    for _ in range(TIMES):
        started = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - started)
    return best


if __name__ == "__main__":
    raise SystemExit(main())
