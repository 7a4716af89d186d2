"""How fast single calls of torch are beside a matrix product: what bounds a stream that is made of them.

    python -m benchmarks.cost.kernels [--channels 192] [--threads 2] [--out FILE]

Prints the page docs/results/kernels.md. Every call is that of a layer of the hyperprior transforms on a band of 32 rows
of a 3840 samples wide image. Rates are multiply-accumulates per second, the best of five.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from ..page import origin, page, publish, table
from .rates import OF_A_PRODUCT, fastest, matrix_product

Layer = tuple[str, int, Callable[[], object]]
"""What it is called, its multiply-accumulates, and the call."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.cost.kernels", description=__doc__)
    parser.add_argument("--channels", type=int, default=192)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    source = origin("benchmarks.cost.kernels", argv, threads=options.threads)
    with torch.no_grad():
        product = matrix_product()
        rates = [(name, macs / fastest(call) / product) for name, macs, call in layers(options.channels)]
    about = f"A matrix product: {product / 1e9:.0f} G multiply-accumulates per second."
    rows = [["call", OF_A_PRODUCT], *([name, f"{rate:.2f}"] for name, rate in rates)]
    publish(page("Single calls", source, [about, "", *table(rows)]), options.out)
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


if __name__ == "__main__":
    raise SystemExit(main())
