"""A hyperprior codec at 3840x2160: whole, and as a stream from one mapped file to another.

    python benchmarks/streaming.py [--size 2160 3840] [--channels 192] [--bands 16 32 64] [--axes W H] [--threads 2]
                                   [--out FILE]

Every measurement has a fresh process: seconds of one run after planning and a small warm-up, and the growth of the
process's high-water mark of memory during it. The whole run gets a tensor and keeps its output; streams read a mapped
file and write one. The output of a stream is compared with that of the whole run, sample by sample. "Of a matrix
product" is the rate of multiply-accumulates over that of one product of two 4096 x 4096 matrices on the same threads.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import product as product_of
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: the repository, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks.highwater import QUIET_MALLOC
from benchmarks.page import table
from benchmarks.tilingpage import MIB, machine, versions

ROOT = Path(__file__).resolve().parent.parent
TARGETS = {"encoder": (0.65, 0.025)}
"""Time and memory over the whole run's, at most."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/streaming.py", description=__doc__)
    parser.add_argument("--size", nargs=2, type=int, default=(2160, 3840), metavar=("H", "W"))
    parser.add_argument("--channels", type=int, default=192)
    parser.add_argument("--bands", nargs="+", type=int, default=[16, 32, 64], metavar="ROWS")
    parser.add_argument("--axes", nargs="+", choices=("H", "W"), default=["W", "H"], help="along which streams go")
    parser.add_argument("--nets", nargs="+", choices=("encoder", "decoder"), default=["encoder", "decoder"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker:
        print("\n" + json.dumps(_work(json.loads(options.worker))))
        return 0
    import torch

    torch.set_num_threads(options.threads)
    heads = [
        "net",
        "way",
        "rows",
        "MACs",
        "seconds",
        "of whole",
        "of a matrix product",
        "MiB",
        "of whole",
        "plan, MiB",
        "error",
    ]
    cells, product = [heads], _product()
    print(f"a matrix product: {product / 1e9:.1f} GMAC/s", flush=True)
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for net in options.nets:
            whole = _measured({"net": net, "rows": 0, "folder": folder}, options)
            cells.append(
                [net, "whole", "", "1.000", *_cells(whole, whole, product), f"{whole.get('plan', 0) / MIB:.0f}", ""]
            )
            print(", ".join(cells[-1]), flush=True)
            for axis, rows in product_of(options.axes, options.bands):
                found = _measured({"net": net, "rows": rows, "axis": axis, "folder": folder}, options)
                macs, said = f"{found.get('macs', 0):.3f}", f"{found.get('plan', 0) / MIB:.0f}"
                error = found.get("error", float("nan"))
                cells.append(
                    [net, f"stream along {axis}", str(rows), macs, *_cells(found, whole, product), said, f"{error:.1e}"]
                )
                print(", ".join(cells[-1]), flush=True)
                good = good and error <= 1e-5
    height, width = options.size
    bands = " ".join(map(str, options.bands))
    command = f"python benchmarks/streaming.py --channels {options.channels} --bands {bands}"
    command += f" --axes {' '.join(options.axes)} --threads {options.threads}"
    about = (
        f"Hyperprior transforms, {options.channels} channels, GDN, on {width}x{height} in float32. For the encoder, "
        f"at most {TARGETS['encoder'][0]} of the time and {TARGETS['encoder'][1]:.1%} of the memory are wanted."
    )
    head = f"{versions()}. {machine(options.threads)}."
    lines = ["# A codec as a stream", "", f"    {command}", "", head, "", f"{about} See `benchmarks/streaming.py`.", ""]
    text = "\n".join([*lines, *table(cells)]) + "\n"
    print(text)
    if options.out is not None:
        options.out.write_text(text)
    return 0 if good else 1


def _product() -> float:
    """Multiply-accumulates per second of one large matrix product."""
    import torch

    n = 4096
    a, best = torch.rand(n, n), float("inf")
    for _ in range(4):
        started = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - started)
    return n**3 / best


def _cells(found: dict[str, Any], whole: dict[str, Any], product: float) -> list[str]:
    return [
        f"{found['seconds']:.1f}", f"{found['seconds'] / whole['seconds']:.2f}",
        f"{whole['full'] / found['seconds'] / product:.2f}",
        f"{found['growth'] / MIB:.0f}", f"{found['growth'] / whole['growth']:.2%}",
    ]  # fmt: skip


def _measured(task: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Memory and time by processes of their own: the settings that make memory repeat make it slow."""
    given = {**task, "size": list(options.size), "channels": options.channels, "threads": options.threads}
    command = [sys.executable, "-m", "benchmarks.streaming", "--worker", json.dumps(given)]
    plain = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "PYTHONPATH": str(ROOT)}
    found: dict[str, Any] = {}
    for environment in ({**plain, **QUIET_MALLOC}, plain):
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{task}: {done.stderr.strip().splitlines()[-1:]}")
        measured = json.loads(done.stdout.strip().splitlines()[-1])
        found = {**measured, **found, "seconds": measured["seconds"]}
    return found


def _work(task: dict[str, Any]) -> dict[str, Any]:
    """One measurement, in this process."""
    import numpy as np
    import torch

    import overlapcalc as oc
    from benchmarks.highwater import growth
    from examples.codec import Codec

    torch.set_num_threads(task["threads"])
    torch.manual_seed(0)
    codec = Codec(task["channels"], task["channels"]).eval()
    height, width = task["size"]
    shapes = {"encoder": (1, 3, height, width), "decoder": (1, task["channels"], height // 16, width // 16)}
    net, shape = {"encoder": codec.g_a, "decoder": codec.g_s}[task["net"]], shapes[task["net"]]
    folder = Path(task["folder"])
    paths = {end: folder / f"{task['net']}-{end}.bin" for end in ("in", "whole", "out")}
    seconds: list[float] = []
    if not task["rows"]:
        x = torch.rand(shape)
        x.numpy().tofile(paths["in"])
        made = oc.plan(net, shape)
        memory = made.full_memory
        with torch.no_grad():
            net(x[..., : shape[2] // 8, : shape[3] // 8])
            kept: list[Any] = []

            def run() -> None:
                started = time.perf_counter()
                kept.append(net(x))
                seconds.append(time.perf_counter() - started)

            grown = growth(run)
        kept[0].numpy().tofile(paths["whole"])
        predicted = memory.activations if memory else 0
        return {"seconds": seconds[0], "growth": grown, "plan": predicted, "full": made.full.macs}
    tiled = oc.tiled(net, shape, schedule="stream", stream_axis=task["axis"], block=task["rows"])
    made = tiled.plan(shape, stored=True)
    source = np.memmap(paths["in"], np.float32, "r", shape=shape)
    out = np.memmap(paths["out"], np.float32, "w+", shape=made.outputs[0])
    tiled(torch.rand(*shape[:2], shape[2] // 8, shape[3] // 8))  # a small warm-up, with a plan of its own
    assert tiled.machine(shape, stored=True).calls  # traced now, not in the measured run

    def stream() -> None:
        started = time.perf_counter()
        tiled(source, out=out)
        seconds.append(time.perf_counter() - started)

    grown = growth(stream)
    whole = np.memmap(paths["whole"], np.float32, "r", shape=made.outputs[0])
    error = max(float(abs(whole[0, c] - out[0, c]).max()) for c in range(out.shape[1]))
    return {
        "seconds": seconds[0],
        "growth": grown,
        "plan": made.memory.activations if made.memory else 0,
        "macs": made.work.macs / made.full.macs,
        "error": error / max(float(abs(whole[0, c]).max()) for c in range(out.shape[1])),
    }


if __name__ == "__main__":
    raise SystemExit(main())
