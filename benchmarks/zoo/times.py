"""How long an analysis takes, beside one export and decomposition by torch of the same model.

    python -m benchmarks.zoo.times [--zoo FILE] [--names NAME ...] [--kinds KIND ...] [--limit N] [--timeout S]
                                   [--every N] [--fresh] [--resume] [--out STEM]

Each model has a process of its own, forked from one where everything is imported. Both are run in turn in that process,
`ROUNDS` times on one thread, and the fastest of each counts: processor seconds. Every analysis is of a new copy of the
model, so that nothing is kept from the one before. The verdict comes on top of it: everything that a report says, the
part before the obstacles included. Writes STEM.json and the page STEM.md after every model; models that
are there already, of the same code, are not done again.
"""

from __future__ import annotations

import argparse
import copy
import time
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from statistics import median
from typing import Any

import torch

import overlapcalc as oc

from ..exporting import export
from ..page import Origin, table
from ..page import page as framed
from .isolation import isolated
from .record import described
from .results import Results
from .zoofile import Zoo, add_choice, add_run, chosen_from

Record = dict[str, Any]
ROUNDS = 2


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.zoo.times", description="A zoo's analyses beside its exports.")
    add_choice(parser)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only the first of every N of them")
    add_run(parser, 600)
    options = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    chosen = chosen_from(options)
    if chosen is None:
        return 2
    zoo, names = chosen[0], chosen[1][:: options.every]
    results = Results(options.out, zoo, "benchmarks.zoo.times", argv, checked=False, render=page)
    models = {} if options.fresh else results.kept(names, any_code=options.resume)
    zoo.preload()
    torch.set_num_threads(1)
    net = torch.nn.Conv2d(1, 1, 3)  # imports all, before the processes of the models part from it
    oc.analyze(net, (1, 1, 8, 8))
    export(net, (torch.zeros(1, 1, 8, 8),))
    for i, name in enumerate(names, 1):
        if name not in models:
            models[name] = {"kind": zoo.kind(name), **isolated(partial(timed, zoo, name), options.timeout)}
            print(f"[{i}/{len(names)}] {name}: {', '.join(_cells(models[name]))}", flush=True)
            results.write({n: models[n] for n in names if n in models})
    results.write({n: models[n] for n in names if n in models})
    print("\n".join(summary(models.values())))
    return 0


def timed(zoo: Zoo, name: str, send: Callable[[Record], None]) -> None:
    """Processor seconds of one model, sent round by round."""
    send({"result": "crashed"})
    try:
        model, inputs = zoo.build(name)
    except Exception as error:
        send({"result": "not built", "error": described(error)})
        return
    best: dict[str, float] = {}
    answers: list[oc.Analysis] = []
    works: dict[str, Callable[[], object]] = {
        "analyze": lambda: answers.append(oc.analyze(copy.deepcopy(model), list(inputs))),
        "verdict": lambda: answers.pop().to_dict(),
        "export": lambda: export(model, inputs),
    }
    for _ in range(ROUNDS):
        for what, work in works.items():
            started = time.process_time()
            try:
                work()
            except Exception as error:  # of torch, or a refusal: then there is nothing to compare
                send({"result": f"{what} failed", "error": described(error)})
                return
            best[what] = min(best.get(what, float("inf")), time.process_time() - started)
        send({"result": "timed", "seconds": {what: round(s, 3) for what, s in best.items()}})


def page(zoo: str, source: Origin, models: dict[str, Record]) -> str:
    head = ["model", "analyze s", "verdict s", "export s", "ratio"]
    rows = [head, *([name, *_cells(r)] for name, r in models.items())]
    return framed(f"{zoo}: how long an analysis takes", source, [*summary(models.values()), "", *table(rows)])


def summary(models: Iterable[Record]) -> list[str]:
    ratios = sorted(r for r in map(_ratio, models) if r is not None)
    if not ratios:
        return ["- No model was timed."]
    return [
        f"- Seconds to analyse over seconds of torch's export and decomposition: median {median(ratios):.2f}, "
        f"largest {ratios[-1]:.2f}, of {len(ratios)} models."
    ]


def _ratio(r: Record) -> float | None:
    return r["seconds"]["analyze"] / r["seconds"]["export"] if r.get("seconds") else None


def _cells(r: Record) -> list[str]:
    ratio = _ratio(r)
    if ratio is None:
        return [r["result"], "", "", ""]
    seconds = [r["seconds"][what] for what in ("analyze", "verdict", "export")]
    return [*(f"{s:.2f}" for s in seconds), f"{ratio:.2f}"]


if __name__ == "__main__":
    raise SystemExit(main())
