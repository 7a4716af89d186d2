"""Analyse every model of a zoo, check what is said of each, and write down the results.

    python -m benchmarks.zoo.survey [--zoo FILE] [--names NAME ...] [--kinds KIND ...] [--limit N]
                                      [--check] [--timeout S] [--fresh] [--resume] [--list] [--out STEM]

Without --zoo: the nets of `nets.py`. Writes STEM.json and the page STEM.md, in this repository docs/results/zoo.md and
docs/results/trunks.md, after every model; models that are there already, of the same code, are not done again. Exit
code 1: an answer that does not hold, a refusal that nothing confirms, a crash or a traceback.
"""

from __future__ import annotations

import argparse
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch

import overlapcalc as oc

from . import page as pages
from .isolation import isolated
from .record import record
from .results import Results
from .zoofile import add_choice, chosen_from

Record = dict[str, Any]


def main(argv: list[str] | None = None) -> int:
    options = _options(argv)
    warnings.simplefilter("ignore")
    chosen = chosen_from(options)
    if chosen is None:
        return 2
    zoo, names = chosen
    if options.list:
        print("\n".join(f"{zoo.kind(n)}\t{n}" for n in names))
        return 0
    results = Results(options.out, zoo, "benchmarks.zoo.survey", argv, checked=options.check)
    models = {} if options.fresh else results.kept(names, any_code=options.resume)
    started = time.perf_counter()
    zoo.preload()
    _warm()
    for i, name in enumerate(names, 1):
        if name in models:
            continue
        found = isolated(partial(record, zoo, name, options.check), options.timeout)
        models[name] = {"kind": zoo.kind(name), **found}
        print(f"[{i:>{len(str(len(names)))}}/{len(names)}] {_progress(name, models[name])}", flush=True)
        results.write({n: models[n] for n in names if n in models})
    results.write({n: models[n] for n in names if n in models})
    print(f"\n{len(models)} models in {(time.perf_counter() - started) / 60:.1f} min")
    print("\n".join(pages.summary(models)))
    for title, lines in pages.sections(models)[:4]:
        print(f"\n{title}: {len(lines) or 'none'}", *lines, sep="\n")
    return 1 if any(_bad(r) for r in models.values()) else 0


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.zoo.survey", description="Analyse and check a zoo of models.")
    add_choice(parser)
    parser.add_argument("--check", action="store_true", help="hold answers and refusals against runs of the models")
    parser.add_argument("--timeout", type=float, default=900, metavar="S", help="seconds per model (900)")
    parser.add_argument("--out", type=Path, metavar="STEM", help="write STEM.json and STEM.md (an ending is dropped)")
    parser.add_argument("--fresh", action="store_true", help="do models again that are in the results")
    parser.add_argument("--resume", action="store_true", help="keep results of other versions of the code too")
    parser.add_argument("--list", action="store_true", help="list the models and stop")
    return parser.parse_args(argv)


def _warm() -> None:
    """Import what torch.export imports on first use, before the processes of the models part from this one."""
    torch.set_num_threads(1)
    oc.analyze(torch.nn.Conv2d(1, 1, 3), (1, 1, 8, 8))


def _progress(name: str, r: Record) -> str:
    check = r.get("check", {}).get("status", "")
    seconds = r["seconds"]
    times = " ".join(f"{k} {v:.1f}" for k, v in seconds.items() if v is not None)
    causes = ", ".join(f"{g['cause']} {g['layers']}" for g in r.get("obstacles", ()))
    error = r["error"]["kind"] if r.get("error") else ""
    return "  ".join(part for part in (name, r["result"], check, causes, error, f"({times})") if part)


def _bad(r: Record) -> bool:
    crashed = bool(r.get("error")) and not r["error"].get("on_purpose")
    return crashed or r.get("check", {}).get("status") in ("suspicious", "failed", "error", "crashed")


if __name__ == "__main__":
    raise SystemExit(main())
