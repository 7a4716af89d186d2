"""How fast is the analysis? Ratios, which are the same on every machine, rather than seconds.

    python -m benchmarks.cost.speed [--zoo FILE] [--names ...] [--kinds ...] [--limit N]
                                    [--only zoo|chains] [--layers N M] [--out FILE]

Prints a page of two tables. Over a zoo, model by model in one process: `analyze` over what torch alone needs to export
the model once and to run the empty decomposition, each run once to warm up and then measured; the median should be at
most 2.5. Without torch: what `analyze` and its figures cost beside tracing, for chains of 2,000 layers over chains of
200; at most 12 times. Exit code 1: more than that. Seconds are of processor time, so that other work on the machine
counts as little as may be.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import overlapcalc as oc

from ..exporting import export
from ..page import origin, page, publish, table
from ..zoo.zoofile import Zoo, add_choice, chosen_from
from .chains import CHAINS, growth

MOST_RATIO, MOST_GROWTH = 2.5, 12.0
SHORT, LONG = 200, 2000
Table = tuple[list[str], bool]
"""Lines of a page, and whether all is as wanted."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.cost.speed", description="Ratios of time; see the file's head.")
    add_choice(parser)
    parser.add_argument("--only", choices=("zoo", "chains"), help="one of the two tables")
    parser.add_argument("--layers", nargs=2, type=int, default=(SHORT, LONG), metavar=("N", "M"), help="chain lengths")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the page, in markdown")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    source, tables = origin("benchmarks.cost.speed", argv, threads=1), []
    if options.only != "chains":
        chosen = chosen_from(options)
        if chosen is None:
            return 2
        tables.append(_over(*chosen))
    if options.only != "zoo":
        tables.append(_along_chains(*options.layers))
    body = [line for lines, _ in tables for line in lines]
    publish(page("How fast the analysis is", source, body), options.out)
    return 0 if all(good for _, good in tables) else 1


# ---- against torch's own time -------------------------------------------------------------------------------


def _over(zoo: Zoo, names: list[str]) -> Table:
    rows, ratios = [["model", "ratio", "analyze, s", "torch, s"]], []
    for name in names:
        model, inputs = zoo.build(name)
        try:
            found = against_torch(model, inputs)
        except Exception as error:  # a model that torch or overlapcalc refuses has no ratio
            rows.append([name, type(error).__name__, "", ""])
        else:
            ratios.append(found["ratio"])
            rows.append([name, f"{found['ratio']:.2f}", f"{found['analyze']:.2f}", f"{found['torch']:.2f}"])
        print(", ".join(rows[-1]), flush=True)
    lines = [f"## {zoo.label}, over torch's export and decomposition", ""]
    if not ratios:
        return [*lines, "No model has a ratio.", "", *table(rows), ""], True
    median = statistics.median(ratios)
    said = f"Median {median:.2f} of {len(ratios)} models (at most {MOST_RATIO} wanted), largest {max(ratios):.2f}."
    return [*lines, said, "", *table(rows), ""], median <= MOST_RATIO


def against_torch(model: nn.Module, inputs: tuple[Tensor, ...]) -> dict[str, float]:
    """Seconds of `analyze` with its verdict, of torch alone, and their ratio; the second of two runs each."""

    def torch_alone() -> None:
        export(model, inputs)

    def ours() -> None:
        assert oc.analyze(model, list(inputs)).obstacles is not None

    with _silent():
        for work in (torch_alone, ours):
            work()
        torch_seconds, seconds = _timed(torch_alone), _timed(ours)
    return {"analyze": seconds, "torch": torch_seconds, "ratio": seconds / torch_seconds}


def _timed(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


# ---- without torch's time -----------------------------------------------------------------------------------


def _along_chains(short: int, long: int) -> Table:
    rows: list[list[str]] = [["chain", "layers", "beside tracing, s", "tracing, s", "times"]]
    good = True
    for name, make in CHAINS.items():
        found: dict[str, Any] = growth(make, short, long)
        good = good and found["ratio"] <= MOST_GROWTH
        for layers in (short, long):
            parts = found[str(layers)]
            times = f"{found['ratio']:.1f}" if layers == long else ""
            rows.append([name, str(layers), f"{parts['beside']:.2f}", f"{parts['traced']:.1f}", times])
            print(", ".join(rows[-1]), flush=True)
    said = f"What is beside tracing, {long} layers over {short}: at most {MOST_GROWTH:g} times wanted."
    return ["## Chains", "", said, "", *table(rows)], good


if __name__ == "__main__":
    raise SystemExit(main())
