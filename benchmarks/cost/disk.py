"""An image larger than memory, from one file to another: `overlapcalc run` on 20,000 x 20,000 samples.

    python -m benchmarks.cost.disk [--size 20000] [--spec examples/unet.py:UNet] [--memory AMOUNT] [--threads 2]
                                   [--folder DIR] [--out FILE]

Prints the page docs/results/disk.md. The command runs as a process of its own; memory is the most that was resident in
it, Python and torch included. There is no whole run to compare with, so windows of the output, at the corners, edges
and inside, are compared with the net on the part of the image around each, cut generously. Exit code 1: an error above
1e-5, or a GiB or more.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import overlapcalc as oc
from overlapcalc.io.spec import load

from ..highwater import GIB, MIB
from ..page import ROOT, origin, page, publish, table
from ..process import surroundings

COMMAND = """
import sys
from overlapcalc.cli import main
code = main(sys.argv[1:])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
sys.exit(code)
"""
"""The command, and then the high-water mark of its memory in KiB. What the system says of a child that has ended counts
the pages that its parent had when it began."""
WINDOW, AROUND = 64, 256
"""Samples of a window that is compared, and so many more around it are run: a multiple of every step here."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.cost.disk", description=__doc__)
    parser.add_argument("--size", type=int, default=20000)
    parser.add_argument("--spec", default="examples/unet.py:UNet")
    parser.add_argument("--memory", metavar="AMOUNT", help="a budget; without it bands of 32 rows")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the files go; they are removed")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(argv)
    source = origin("benchmarks.cost.disk", argv, threads=options.threads)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = load(options.spec, {})
    assert isinstance(model, torch.nn.Module)
    model.eval()
    shape = (1, 3, options.size, options.size)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        torch.save(model.state_dict(), folder / "weights.pt")
        _write_image(folder / "in.npy", shape)
        seconds, peak = _run(folder, options)
        error = _error(model, folder / "in.npy", folder / "out.npy")
        sizes = [(folder / f"{end}.npy").stat().st_size / GIB for end in ("in", "out")]
    whole = oc.plan(model, shape, schedule="stream", stored=True).full_memory
    assert whole is not None
    rows = [
        ["image", "files, GiB", "whole run, GiB (predicted)", "peak of the process, MiB", "seconds", "error"],
        [f"{options.size}x{options.size}", f"{sizes[0]:.1f} to {sizes[1]:.1f}", f"{whole.total / GIB:.0f}",
         f"{peak / MIB:.0f}", f"{seconds:.0f}", f"{error:.1e}"],
    ]  # fmt: skip
    about = f"`overlapcalc run {options.spec}`, .npy to .npy in float32."
    publish(page("From disk to disk", source, [about, "", *table(rows)]), options.out)
    return 0 if error <= 1e-5 and peak < GIB else 1


def _write_image(path: Path, shape: tuple[int, ...]) -> None:
    """Noise over waves, some rows at a time."""
    image = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    random, columns = np.random.default_rng(0), np.arange(shape[3], dtype=np.float32)
    noise = random.random((shape[1], 128, shape[3]), dtype=np.float32)
    for start in range(0, shape[2], 128):
        rows = np.arange(start, min(start + 128, shape[2]), dtype=np.float32)[:, None]
        image[0, :, start : start + 128] = noise[:, : len(rows)] * 0.5 + 0.25 * (1 + np.sin(rows / 37 + columns / 53))
    image.flush()


def _run(folder: Path, options: argparse.Namespace) -> tuple[float, int]:
    """Seconds and bytes of the command."""
    command = [sys.executable, "-c", COMMAND, "run", options.spec, "--weights", str(folder / "weights.pt"),
               "--in", str(folder / "in.npy"), "--out", str(folder / "out.npy"), "--schedule", "stream"]  # fmt: skip
    command += ["--memory", options.memory] if options.memory else []
    started = time.perf_counter()
    done = subprocess.run(
        command, cwd=ROOT, env=surroundings(options.threads), check=True, stdout=subprocess.PIPE, text=True
    )
    return time.perf_counter() - started, int(done.stdout.split()[-1]) * 1024


def _error(model: Any, source: Path, result: Path) -> float:
    """Of windows of the output, against the net on what is around them; relative to the largest value."""
    x, y = np.load(source, mmap_mode="r"), np.load(result, mmap_mode="r")
    size = x.shape[2]
    places = [0, size // 3 // 32 * 32, size - WINDOW]
    worst = largest = 0.0
    for top in places:
        for left in places:
            rows, columns = _around(top, size), _around(left, size)
            with torch.no_grad():
                whole = model(torch.tensor(x[:, :, rows, columns]))
            part = whole[0, :, top - rows.start :, left - columns.start :][:, :WINDOW, :WINDOW]
            found = torch.tensor(y[0, :, top : top + WINDOW, left : left + WINDOW])
            worst = max(worst, float((part - found).abs().max()))
            largest = max(largest, float(part.abs().max()))
    return worst / largest


def _around(start: int, size: int) -> slice:
    return slice(max(start - AROUND, 0) // 32 * 32, min(start + WINDOW + AROUND, size))


if __name__ == "__main__":
    raise SystemExit(main())
