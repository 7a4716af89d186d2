"""What the stages of an analysis cost per layer, of chains of up to 10,000 layers, tracing apart from the rest.

    python -m benchmarks.cost.lengths [--lengths N ...] [--timeout S] [--out FILE]

Each chain is convolutions of 3x3 with a ReLU behind each, of one channel in and four inside, at 1x1x32x32. It has a
process of its own. Milliseconds of processor time per layer: what grows with the length is not linear. Tracing is
torch's export; all other stages are ours. Memory is what the process takes at most beyond what it took before.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..page import origin, page, publish, table
from ..process import Record, apart

LENGTHS = (100, 300, 1000, 3000)
TRACING = "tracing"
SHAPE = (1, 1, 32, 32)
SCHEDULES = ("crop", "trim", "stream")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.cost.lengths", description="What a layer of a long chain costs.")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, metavar="N", help="10000 takes half an hour")
    parser.add_argument("--timeout", type=float, default=3600, metavar="S", help="for each length")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(argv)
    source = origin("benchmarks.cost.lengths", argv, threads=1)
    found: dict[int, Record] = {}
    for length in options.lengths:
        found[length] = apart(measured, length=length, timeout=options.timeout)
        publish(page("What a layer of a long chain costs", source, body(found)), options.out)
    return int(any("error" in record for record in found.values()))


def measured(length: int) -> Record:
    """Seconds of each stage, and bytes at most."""
    import torch
    from rich.console import Console
    from torch import nn

    import overlapcalc as oc
    from overlapcalc.engine.fingerprint import fingerprint
    from overlapcalc.report import render, to_json

    from ..highwater import growth

    layers = [nn.Conv2d(4 if i else 1, 4, 3, padding=1) for i in range(max(length, 2))]
    net = nn.Sequential(*(layer for conv in layers[:length] for layer in (conv, nn.ReLU()))).eval()
    oc.analyze(nn.Sequential(*layers[:2]), SHAPE)  # imports everything
    spent: dict[str, float] = {}

    def everything() -> None:
        with torch.no_grad(), _timed(spent) as begin:
            begin("copying the net")
            analysis = oc.analyze(net, SHAPE)
            _ = analysis.layers, analysis.runs
            begin("the report")
            render(analysis, Console(file=io.StringIO(), width=100))
            begin("JSON")
            to_json(analysis)
            begin("explaining")
            analysis.explain("W")
            for schedule in SCHEDULES:
                begin(f"planning {schedule}")
                oc.plan(analysis, block=16, schedule=schedule)
            begin("looking for changes")
            fingerprint(net)

    taken = growth(everything)
    return {"seconds": spent, "bytes": taken}


@contextmanager
def _timed(spent: dict[str, float]) -> Iterator[Any]:
    """Adds processor time to the stage that was begun last: by what it gives, or by the library."""
    import overlapcalc as oc

    here, since = "", time.process_time()

    def begin(words: str) -> None:
        nonlocal here, since
        now = time.process_time()
        if here:
            spent[here] = spent.get(here, 0.0) + now - since
        here, since = words.partition(" at ")[0].partition(" with ")[0], now

    with oc.telling(begin):
        yield begin
    begin("")


def body(found: dict[int, Record]) -> Sequence[str]:
    """A row for each stage, a column for each length."""
    done = {length: record for length, record in found.items() if "error" not in record}
    stages = list(dict.fromkeys(stage for record in done.values() for stage in record["seconds"]))

    def row(name: str, values: dict[int, float]) -> list[str]:
        return [name, *(f"{1e3 * values[n] / n:.3g}" if n in values else "-" for n in done)]

    beside = {n: sum(s for stage, s in r["seconds"].items() if stage != TRACING) for n, r in done.items()}
    rows = [["milliseconds per layer", *(f"{n} layers" for n in done)]]
    rows += [row(s, {n: r["seconds"][s] for n, r in done.items() if s in r["seconds"]}) for s in stages]
    rows += [row("all but tracing", beside)]
    rows += [["KiB per layer", *(f"{r['bytes'] / n / 1024:.3g}" for n, r in done.items())]]
    failed = [f"{n} layers: {r['error']}" for n, r in found.items() if "error" in r]
    return [*table(rows), *([""] if failed else []), *failed]


if __name__ == "__main__":
    raise SystemExit(main())
