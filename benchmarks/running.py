"""The local models of a zoo by blocks: every schedule against the whole run, in float64.

    python benchmarks/running.py [--zoo FILE] [--names NAME ...] [--limit N] [--out FILE]

Along W, on an image that is long enough for a block with no border near.
A model that is refused is skipped. Largest error over the largest output; at most 1e-12 is right.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: the repository, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch
from torch.utils._pytree import tree_leaves

import overlapcalc as oc
from benchmarks.page import table
from benchmarks.weights import enliven, noise
from benchmarks.zoofile import load

TOLERANCE = 1e-12
SCHEDULES = ("crop", "trim", "stream")
MOST = 6_000_000
"""Samples of the longest image that is run."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/running.py", description=__doc__)
    parser.add_argument("--zoo", type=Path, default=Path(__file__).resolve().parent / "nets.py")
    parser.add_argument("--names", nargs="+", default=[])
    parser.add_argument("--limit", type=int)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    zoo = load(options.zoo)
    zoo.preload()
    cells, good = [["model", "image", "tile", *SCHEDULES, "seconds"]], True
    for name in zoo.chosen(options.names, [], options.limit):
        found = _of(*zoo.build(name))
        if found is None:
            continue
        errors = [found.get(schedule, "") for schedule in SCHEDULES]
        good = good and all(isinstance(e, str) or e <= TOLERANCE for e in errors) and "" not in errors
        shown = [e if isinstance(e, str) else f"{e:.1e}" for e in errors]
        cells.append([name, found["image"], found["tile"], *shown, f"{found['seconds']:.0f}"])
        print(", ".join(cells[-1]), flush=True)
    lines = ["# Local models by blocks", "", "    python benchmarks/running.py --zoo " + options.zoo.name, "",
             f"overlapcalc {oc.__version__}, torch {torch.__version__}. Errors are of float64.", ""]  # fmt: skip
    text = "\n".join([*lines, *table(cells)]) + "\n"
    if options.out is not None:
        options.out.write_text(text)
    print(text)
    return 0 if good else 1


def _of(model: Any, example: tuple[Any, ...]) -> dict[str, Any] | None:
    """The errors of one model; None where it is refused."""
    shapes = tuple(tuple(x.shape) if isinstance(x, torch.Tensor) else tuple(x) for x in example)
    started = time.perf_counter()
    try:
        a = oc.analyze(model, list(shapes), axes="W")
        if not a.blocking_free:
            return None
        tile = max(a[axis].tile.total for axis in ("W",)) if len(a.pairs) == 1 else None  # type: ignore[union-attr]
        tile = tile if tile is not None else max(p["W"].tile.total for p in a.pairs)  # type: ignore[union-attr]
        step = a.grid["W"].step[0]
        size = shapes[0][-1] + -(-(tile + 4 * step) // step) * step
    except (oc.OverlapcalcError, AttributeError):
        return None
    long = tuple((*s[:-1], size) for s in shapes)
    found: dict[str, Any] = {"image": "x".join(map(str, long[0])), "tile": str(tile), "seconds": 0.0}
    if sum(torch.Size(s).numel() for s in long) > MOST:
        return {**found, "crop": "too large"}
    inputs = noise(tuple(torch.zeros(s) for s in long))
    enliven(model, inputs)
    model = model.double()
    inputs = tuple(x.double() for x in inputs)
    with torch.no_grad():
        whole = [y for y in tree_leaves(model(*inputs)) if isinstance(y, torch.Tensor)]
    for schedule in SCHEDULES:
        try:
            made = oc.run(model, *inputs, schedule=schedule, axes="W", block=max(64, step))
        except oc.OverlapcalcError as error:
            found[schedule] = f"{type(error).__name__}: {str(error)[:120]}"
            continue
        parts = [y for y in tree_leaves(made) if isinstance(y, torch.Tensor)]
        found[schedule] = max(
            float((y - z).abs().max() / y.abs().max().clamp(min=1e-300)) for y, z in zip(whole, parts, strict=True)
        )
    return {**found, "seconds": time.perf_counter() - started}


if __name__ == "__main__":
    raise SystemExit(main())
