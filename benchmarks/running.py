"""The local models of a zoo by blocks: every schedule against the whole run, in float64.

    python benchmarks/running.py [--zoo FILE] [--names NAME ...] [--limit N] [--twin] [--height ROWS] [--out FILE]

Along W, on an image that is long enough for a block with no border near.
A model that is refused is skipped. Largest error over the largest output; at most 1e-12 is right. A deep net can round
more than that; --twin computes it in integers modulo a prime as well, where blocks and whole must be bit-identical.
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
from overlapcalc.prove.against_whole import exact_twin
from overlapcalc.prove.result import PROVED

TOLERANCE, MUCH = 1e-12, 1e-10
SCHEDULES = ("crop", "trim", "stream")
MOST = 6_000_000
"""Samples of the longest image that is run."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/running.py", description=__doc__)
    parser.add_argument("--zoo", type=Path, default=Path(__file__).resolve().parent / "nets.py")
    parser.add_argument("--names", nargs="+", default=[])
    parser.add_argument("--limit", type=int)
    parser.add_argument("--twin", action="store_true")
    parser.add_argument("--height", type=int, help="rows of the image, those of the zoo when absent")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    zoo = load(options.zoo)
    zoo.preload()
    twins = [f"twin, {schedule}" for schedule in SCHEDULES] if options.twin else []
    cells, good = [["model", "image", "tile", *SCHEDULES, *twins, "seconds"]], True
    for name in zoo.chosen(options.names, [], options.limit):
        found = _of(*zoo.build(name), options.twin, options.height)
        if found is None:
            continue
        errors = [found.get(schedule, "") for schedule in SCHEDULES]
        proved = [found.get(twin, "") for twin in twins]
        good = good and all(_right(e, twin) for e, twin in zip(errors, proved or [""] * len(errors), strict=True))
        shown = [e if isinstance(e, str) else f"{e:.1e}" for e in errors]
        cells.append([name, found["image"], found["tile"], *shown, *proved, f"{found['seconds']:.0f}"])
        print(", ".join(cells[-1]), flush=True)
    lines = ["# Local models by blocks", "", "    python benchmarks/running.py --zoo " + options.zoo.name, "",
             f"overlapcalc {oc.__version__}, torch {torch.__version__}. Errors are of float64.", ""]  # fmt: skip
    text = "\n".join([*lines, *table(cells)]) + "\n"
    if options.out is not None:
        options.out.write_text(text)
    print(text)
    return 0 if good else 1


def _right(error: Any, twin: str) -> bool:
    """Whether values agree, or differ by rounding alone: then the twin says so."""
    if isinstance(error, str):
        return False
    return error <= (MUCH if twin == PROVED else TOLERANCE) and twin in ("", PROVED)


def _of(model: Any, example: tuple[Any, ...], twin: bool, height: int | None) -> dict[str, Any] | None:
    """The errors of one model; None where it is refused."""
    shapes = tuple(tuple(x.shape) if isinstance(x, torch.Tensor) else tuple(x) for x in example)
    if height is not None:
        shapes = tuple((*s[:2], height, s[3]) for s in shapes)
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
            net = oc.tiled(model, schedule=schedule, axes="W", block=max(64, step))
            made = net(*inputs)
            if twin:
                proof = _twin(model, net, long, inputs)
                found[f"twin, {schedule}"] = (
                    proof.status if proof.status == PROVED else f"{proof.status}: {proof.reason}"
                )
        except oc.OverlapcalcError as error:
            found[schedule] = f"{type(error).__name__}: {str(error)[:120]}"
            continue
        parts = [y for y in tree_leaves(made) if isinstance(y, torch.Tensor)]
        found[schedule] = max(
            float((y - z).abs().max() / y.abs().max().clamp(min=1e-300)) for y, z in zip(whole, parts, strict=True)
        )
    return {**found, "seconds": time.perf_counter() - started}


def _twin(model: Any, net: oc.Tiled, shapes: tuple[tuple[int, ...], ...], inputs: tuple[torch.Tensor, ...]) -> oc.Proof:
    machine = net.machine(*shapes)
    given = dict(zip(machine.plan.inputs, inputs, strict=True))
    return exact_twin(model, machine.source, machine.plan, given, torch.device("cpu"))


if __name__ == "__main__":
    raise SystemExit(main())
