"""Every model of a zoo by passes, at twice its size: against the whole run, in float64.

    python -m benchmarks.zoo.passes [--zoo FILE] [--names NAME ...] [--kinds KIND ...] [--limit N] [--rows N]
                                    [--timeout S] [--fresh] [--resume] [--out STEM]

Prints a line per model and writes STEM.json and the page STEM.md, in this repository docs/results/passes.md, after
every model; models that are there already, of the same code, are not done again. Each has a process of its own. A
model that runs at its own size alone is run at that, and the page says so. The error is the largest difference over the
largest output; at most 1e-11 is right, or 1e-5 for a model that runs in float32 alone. Exit code 1: an error above
that, or a model that ends in any other way.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor

import overlapcalc as oc
from overlapcalc.planning.plan import Plan

from ..page import Origin, table
from ..page import page as framed
from .isolation import isolated
from .record import described
from .results import Results
from .runs import Net, relative, tensors
from .shapes import Shapes, example, runs
from .weights import enliven
from .zoofile import Zoo, add_choice, add_run, chosen_from

Record = dict[str, Any]
TOLERANCE = {"float64": 1e-11, "float32": 1e-5}
TIMES = 2


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.zoo.passes", description="A zoo by passes, against the whole.")
    add_choice(parser)
    parser.add_argument("--rows", type=int, default=32, metavar="N", help="the length of a band (32)")
    add_run(parser, 240)
    options = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    chosen = chosen_from(options)
    if chosen is None:
        return 2
    zoo, names = chosen
    results = Results(options.out, zoo, "benchmarks.zoo.passes", argv, checked=True, render=page)
    models = {} if options.fresh else results.kept(names, any_code=options.resume)
    zoo.preload()
    torch.set_num_threads(1)
    oc.analyze(torch.nn.Conv2d(1, 1, 3), (1, 1, 8, 8))  # imports all, before the processes of the models part from it
    for i, name in enumerate(names, 1):
        if name not in models:
            found = isolated(partial(by_passes, zoo, name, options.rows), options.timeout)
            models[name] = {"kind": zoo.kind(name), **found}
            print(f"[{i}/{len(names)}] {name}: {', '.join(_cells(models[name]))}", flush=True)
            results.write({n: models[n] for n in names if n in models})
    results.write({n: models[n] for n in names if n in models})
    print("\n".join(summary(models.values())))
    return 0 if all(map(right, models.values())) else 1


# ---- one model ----------------------------------------------------------------------------------------------


def by_passes(zoo: Zoo, name: str, rows: int, send: Callable[[Record], None]) -> None:
    """Everything about one model, sent piece by piece."""
    started = time.perf_counter()
    send({"result": "crashed", "seconds": {}})
    try:
        net, times = _net(zoo, name)
        send({"shape": "x".join(map(str, net.inputs[0].shape)), "times": times, "type": str(net.inputs[0].dtype)[6:]})
        analysis = oc.analyze(net.model, list(net.inputs))
        if net.inputs[0].dtype == torch.float64 and narrows(analysis):
            send({"widened": True})
            widen()
            analysis = oc.analyze(net.model, list(net.inputs))
        plan = oc.plan(analysis, schedule="passes", block=rows)
        send({**planned(plan), "classes": classes(analysis, plan)})
        found = tensors(oc.tiled(net.model, schedule="passes", block=rows)(*net.inputs))
        whole = net.run()
        errors = [relative(y, z, float(z.abs().max())) for y, z in zip(found, whole, strict=True)]
    except Exception as error:  # of the model, of torch, or of the package: the page says which
        send({"result": "failed", "error": described(error)})
    else:
        send({"result": "ran", "error_of_values": max(errors)})
    send({"seconds": {"all": round(time.perf_counter() - started, 1)}})


def _net(zoo: Zoo, name: str) -> tuple[Net, int]:
    """The model and noise, in float64 where it runs in that, and how many times its own size the noise is."""
    model, given = zoo.build(name)
    enliven(model, given)
    own: Shapes = tuple(tuple(x.shape) for x in given)
    double = tuple(x.double() if x.is_floating_point() else x for x in given)
    like = double if runs(model.double(), own, double) else given
    model = model.to(like[0].dtype)
    large: Shapes = tuple((*s[:2], *(TIMES * n for n in s[2:])) for s in own)
    times = TIMES if runs(model, large, like) else 1
    return Net(model, example(like, large if times == TIMES else own)), times


def narrows(analysis: oc.Analysis) -> bool:
    """Whether a net in float64 computes something in float32, so that its own rounding hides what is compared."""
    calls = analysis.variants.runnable(tuple(analysis.inputs.values())).calls
    return any(call.dtype == torch.float32 for call in calls.values())


def widen() -> None:
    """From now on, casts to float32 give float64 in this process."""
    to, kind = Tensor.to, Tensor.type

    def wide(args: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(torch.float64 if one is torch.float32 else one for one in args)

    def wide_to(self: Tensor, *args: Any, **named: Any) -> Tensor:
        return to(self, *wide(args), **dict(zip(named, wide(tuple(named.values())), strict=True)))

    def wide_type(self: Tensor, *args: Any, **named: Any) -> Any:
        return kind(self, *wide(args), **named)

    Tensor.float = Tensor.double  # type: ignore[method-assign]
    Tensor.to = wide_to  # type: ignore[method-assign,assignment]
    Tensor.type = wide_type  # type: ignore[method-assign,assignment]


def planned(plan: Plan) -> Record:
    """passes; memory and macs over those of the whole run; stored: MiB between passes, in memory or on disk."""
    assert plan.passes is not None
    memory, full = plan.memory, plan.full_memory
    return {
        "passes": len(plan.passes.each),
        "memory": memory.activations / full.activations if memory and full and full.activations else None,
        "work": plan.work.macs / plan.full.macs if plan.full.macs else 1.0,
        "stored": sum(one.nbytes for one in plan.passes.stored),
    }


def classes(analysis: oc.Analysis, plan: Plan) -> dict[str, int]:
    """Layers that hold back the axis that is cut, by how they run: reductions band by band; whole, once; or by bands,
    at this size, of operands of which some may be needed whole."""
    assert plan.passes is not None
    reductions = {end for one in plan.passes.each for end in one.ends}
    whole = {end for one in plan.passes.each for end in one.whole}
    others = {(o.layer, o.op) for o in analysis.obstacles if o.axis == plan.stream_axis}
    sized = others - reductions - whole
    found = {"reduction": len(reductions), "at this size": len(sized), "whole": len(whole)}
    return {name: count for name, count in found.items() if count}


# ---- the page -----------------------------------------------------------------------------------------------


def right(r: Record) -> bool:
    """Whether a model ran, and gave what the whole gives."""
    return r["result"] == "ran" and bool(r["error_of_values"] <= TOLERANCE[r["type"]])


def page(zoo: str, source: Origin, models: dict[str, Record]) -> str:
    """Markdown."""
    rows = [["model", "input", "operators in the way", "passes", "memory", "work", "error", "seconds"]]
    rows += [[name, *_cells(r)] for name, r in models.items()]
    about = [
        f"Models of {zoo} in float64, at {TIMES} times their size where they run at that. Operators in the way along "
        "the axis that is cut: a reduction is taken band by band; what runs at this size runs by bands, which "
        "tiles of the unmodified net could not; the rest runs whole, once. Memory (predicted, without weights) and "
        "multiply-accumulates are those of the passes over those of the whole. The error is the largest difference "
        "from the whole over the largest output; of a model that runs in float32 alone, at most 1e-5 is right. "
        "Widened: the model casts to float32 on the way, and is run, whole and by passes, with float64 in its place.",
        "",
        *summary(models.values()),
        "",
    ]
    return framed(f"{zoo} by passes: {len(models)} models", source, [*about, *table(rows)])


def summary(models: Iterable[Record]) -> list[str]:
    every = list(models)
    results = Counter("right" if right(r) else "wrong" if r["result"] == "ran" else r["result"] for r in every)
    own = sum(r.get("times") == 1 for r in every)
    said = ", ".join(f"{n} {result}" for result, n in results.most_common())
    double = [r for r in every if r["result"] == "ran" and r["type"] == "float64"]
    worst = max((r["error_of_values"] for r in double), default=0.0)
    return [
        f"- {len(every)} models: {said}. Largest error in float64 {worst:.1e} (at most 1e-11 is right).",
        f"- At their own size, because they run at no other: {own}.",
    ]


def _cells(r: Record) -> list[str]:
    size = r.get("shape", "") + (" (own size)" if r.get("times") == 1 else "")
    size += " (float32)" if r.get("type") == "float32" else ""
    size += " (widened)" if r.get("widened") else ""
    met = ", ".join(f"{n} {name}" for name, n in r.get("classes", {}).items()) or ("none" if "passes" in r else "")
    figures = ["" if r.get(key) is None else f"{r[key]:.1%}" for key in ("memory", "work")]
    return [size, met, str(r.get("passes", "")), *figures, _error(r), str(r.get("seconds", {}).get("all", ""))]


def _error(r: Record) -> str:
    if r["result"] == "ran":
        return f"{r['error_of_values']:.1e}" + ("" if right(r) else " (wrong)")
    error = r.get("error", {})
    return " ".join(f"{r['result']}: {error.get('kind', '')}: {error.get('message', '')}".split())[:300]


if __name__ == "__main__":
    raise SystemExit(main())
