"""How fast is the analysis? Ratios, which are the same on every machine, rather than seconds.

    python benchmarks/speed.py [--zoo FILE] [--names ...] [--kinds ...] [--limit N] [--chains] [--out FILE]

(a) Over a zoo, in one process, side by side: `analyze` over what torch alone needs to export the model once and to
run the empty decomposition. Each is run once to warm up and then measured. The median should be at most 2.5.
(b) Without torch: what `analyze` and its figures cost beside tracing, for chains of 2,000 layers over chains of 200.
At most 12 times. --chains: only that.

Seconds are of processor time, so that other work on the machine counts as little as may be.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: the repository, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch
from torch import Tensor, nn

import overlapcalc as oc
from benchmarks.zoofile import Zoo, ZooError, load

HERE = Path(__file__).resolve().parent
MOST_RATIO, MOST_GROWTH = 2.5, 12.0
SHORT, LONG = 200, 2000


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/speed.py", description="Ratios of time; see the file's head.")
    parser.add_argument("--zoo", type=Path, default=HERE / "nets.py", metavar="FILE", help="a zoo file")
    parser.add_argument(
        "--names", nargs="+", default=[], metavar="NAME", help="only these; NAME* for all that begin so"
    )
    parser.add_argument("--kinds", nargs="+", default=[], metavar="KIND", help="only models of these kinds")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N of them")
    parser.add_argument("--chains", action="store_true", help="only the chains, no zoo")
    parser.add_argument("--no-chains", action="store_true", help="only the zoo")
    parser.add_argument("--layers", nargs=2, type=int, default=(SHORT, LONG), metavar=("N", "M"), help="chain lengths")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    figures: dict[str, Any] = {}
    if not options.chains:
        try:
            zoo = load(options.zoo)
            names = zoo.chosen(options.names, options.kinds, options.limit)
        except ZooError as error:
            print(error, file=sys.stderr)
            return 2
        figures["zoo"] = _over(zoo, names)
    if not options.no_chains:
        figures["chains"] = {}
        for name, make in CHAINS.items():
            figures["chains"][name] = growth(make, *options.layers)
            print(f"{name}: {_growth_text(figures['chains'][name])}", flush=True)
    if options.out is not None:
        options.out.write_text(json.dumps(figures, indent=1) + "\n")
    return 0 if _good(figures) else 1


def _good(figures: dict[str, Any]) -> bool:
    ratio = figures.get("zoo", {}).get("median", 0.0)
    return ratio <= MOST_RATIO and all(c["ratio"] <= MOST_GROWTH for c in figures.get("chains", {}).values())


# ---- against torch's own time -------------------------------------------------------------------------------


def _over(zoo: Zoo, names: list[str]) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for name in names:
        model, inputs = zoo.build(name)
        try:
            rows[name] = against_torch(model, inputs)
        except Exception as error:  # a model that torch or overlapcalc refuses has no ratio
            print(f"{name}: {type(error).__name__}", flush=True)
            continue
        row = rows[name]
        print(f"{name}: {row['ratio']:.2f} (analyze {row['analyze']:.2f} s, torch {row['torch']:.2f} s)", flush=True)
    ratios = [row["ratio"] for row in rows.values()]
    if not ratios:
        return {"models": rows, "median": 0.0, "largest": 0.0}
    median, largest = statistics.median(ratios), max(ratios)
    print(f"median {median:.2f} of {len(ratios)} models (at most {MOST_RATIO} wanted), largest {largest:.2f}")
    return {"models": rows, "median": median, "largest": largest}


def against_torch(model: nn.Module, inputs: tuple[Tensor, ...]) -> dict[str, float]:
    """Seconds of `analyze` with its verdict, of torch alone, and their ratio; the second of two runs each."""

    def torch_alone() -> None:
        with torch.no_grad():
            torch.export.export(copy.deepcopy(model), inputs, strict=False).run_decompositions({})

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
    import logging

    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


# ---- without torch's time -----------------------------------------------------------------------------------


def growth(make: Callable[[int], nn.Module], short: int, long: int) -> dict[str, Any]:
    """Seconds beside tracing for a short and a long net, the best of three, after a warm-up, and their ratio."""
    found: dict[str, Any] = {}
    beside_tracing(make(short).eval())
    for layers in (short, long):
        model = make(layers).eval()
        found[str(layers)] = min((beside_tracing(model) for _ in range(3)), key=lambda parts: parts["beside"])
    found["ratio"] = found[str(long)]["beside"] / found[str(short)]["beside"]
    return found


def beside_tracing(model: nn.Module) -> dict[str, float]:
    """Seconds of one analysis with all its figures: traced (export and lowering), and all the rest."""
    door = importlib.import_module("overlapcalc.analysis.analyze")
    trace, spent, traces = door.trace, 0.0, 0

    def timed(*args: Any, **kwargs: Any) -> Any:
        nonlocal spent, traces
        started = time.process_time()
        try:
            return trace(*args, **kwargs)
        finally:
            spent += time.process_time() - started
            traces += 1

    door.trace = timed  # type: ignore[attr-defined]
    try:
        started = time.process_time()
        analysis = oc.analyze(model, (1, 4, 64, 64))
        figures = analysis.to_dict()
        total = time.process_time() - started
    finally:
        door.trace = trace  # type: ignore[attr-defined]
    assert figures["blocking_free"]
    return {"traced": round(spent, 3), "traces": traces, "beside": round(total - spent, 3)}


def _growth_text(found: dict[str, Any]) -> str:
    parts = [
        f"{n} layers {p['beside']:.2f} s beside {p['traced']:.1f} s of tracing"
        for n, p in found.items()
        if n != "ratio"
    ]
    return f"{found['ratio']:.1f} times ({'; '.join(parts)}; at most {MOST_GROWTH:g} wanted)"


class _Add(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


class _Level(nn.Module):
    """A level of a U-Net around another one: half the size inside, the skip concatenated."""

    def __init__(self, inner: nn.Module, layers: int) -> None:
        super().__init__()
        self.inner, self.merge = inner, nn.Conv2d(8, 4, 1)
        self.before, self.after = _convs(layers), _convs(layers)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        inner = torch.nn.functional.interpolate(self.inner(torch.nn.functional.max_pool2d(x, 2)), scale_factor=2.0)
        out: Tensor = self.after(self.merge(torch.cat([x, inner], 1)))
        return out


def _convs(layers: int) -> nn.Sequential:
    return nn.Sequential(*(m for _ in range(layers // 2) for m in (nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())))


def _residual(layers: int) -> nn.Module:
    return nn.Sequential(*(_Add(_convs(4)) for _ in range(layers // 5)))


def _unet(layers: int) -> nn.Module:
    """Three levels; layers counts convolutions and activations."""
    net: nn.Module = _convs(layers // 7)
    for _ in range(3):
        net = _Level(net, layers // 7)
    return net


CHAINS: dict[str, Callable[[int], nn.Module]] = {"conv-relu": _convs, "residual": _residual, "u-net": _unet}

if __name__ == "__main__":
    raise SystemExit(main())
