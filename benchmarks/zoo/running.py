"""The local models of a zoo by blocks: every schedule against the whole run, in float64.

    python -m benchmarks.zoo.running [--zoo FILE] [--names NAME ...] [--limit N] [--twin] [--height ROWS] [--out FILE]

Prints a row per model, and the page docs/results/running.md. Blocks are cut along W, on an image long enough for a
block with no border near. A model that is refused is skipped. The error is the largest difference over the largest
output; at most 1e-12 is right. A deep net can round more than that: --twin computes it in integers modulo a prime as
well, where blocks and whole must be bit-identical. Exit code 1: an error too large, or a twin that is not proved.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

import overlapcalc as oc
from overlapcalc.prove.against_whole import exact_twin
from overlapcalc.prove.result import PROVED

from ..page import origin, page, publish, table
from .runs import Net, Outputs, relative, tensors
from .shapes import Shapes, example
from .weights import enliven
from .zoofile import add_choice, load

AXIS = "W"
TOLERANCE, MUCH = 1e-12, 1e-10
SCHEDULES = ("crop", "trim", "stream")
MOST = 6_000_000
"""Samples of the longest image that is run."""
LEAST_BLOCK = 64


@dataclass
class Outcome:
    """One model. errors, twins: by schedule; of a run that ended with an error, its message instead of a number."""

    image: str
    tile: int
    errors: dict[str, float | str] = field(default_factory=dict)
    twins: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return all(self._right(schedule) for schedule in SCHEDULES)

    def _right(self, schedule: str) -> bool:
        """Whether values agree, or differ by rounding alone: then the twin says so."""
        error, twin = self.errors[schedule], self.twins.get(schedule, "")
        return not isinstance(error, str) and error <= (MUCH if twin == PROVED else TOLERANCE) and twin in ("", PROVED)

    def cells(self) -> list[str]:
        shown = [e if isinstance(e, str) else f"{e:.1e}" for e in self.errors.values()]
        return [self.image, str(self.tile), *shown, *self.twins.values(), f"{self.seconds:.0f}"]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.zoo.running", description=__doc__)
    add_choice(parser)
    parser.add_argument("--twin", action="store_true")
    parser.add_argument("--height", type=int, help="rows of the image, those of the zoo when absent")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    source = origin("benchmarks.zoo.running", argv)
    zoo = load(options.zoo)
    zoo.preload()
    twins = [f"twin, {schedule}" for schedule in SCHEDULES] if options.twin else []
    rows, good = [["model", "image", "tile", *SCHEDULES, *twins, "seconds"]], True
    for name in zoo.chosen(options.names, options.kinds, options.limit):
        outcome = by_every_schedule(*zoo.build(name), twin=options.twin, height=options.height)
        if outcome is not None:
            good = good and outcome.good
            rows.append([name, *outcome.cells()])
            print(", ".join(rows[-1]), flush=True)
    about = f"Models of {zoo.label}, along {AXIS}: the largest error over the largest output, in float64."
    publish(page("Local models by blocks", source, [about, "", *table(rows)]), options.out)
    return 0 if good else 1


def by_every_schedule(
    model: nn.Module, given: tuple[torch.Tensor, ...], *, twin: bool, height: int | None
) -> Outcome | None:
    """None where the model is refused."""
    started = time.perf_counter()
    shapes: Shapes = tuple(tuple(x.shape) for x in given)
    if height is not None:
        shapes = tuple((*s[:2], height, s[3]) for s in shapes)
    needs = _needs(model, shapes)
    if needs is None:
        return None
    tile, step = needs
    width = shapes[0][-1] + -(-(tile + 4 * step) // step) * step
    wide: Shapes = tuple((*s[:-1], width) for s in shapes)
    outcome = Outcome("x".join(map(str, wide[0])), tile, twins=dict.fromkeys(SCHEDULES if twin else (), ""))
    if sum(torch.Size(s).numel() for s in wide) > MOST:
        outcome.errors = dict.fromkeys(SCHEDULES, "too large")
        return outcome
    inputs = example(given, wide)
    enliven(model, inputs)
    net = Net(model.double(), tuple(x.double() if x.is_floating_point() else x for x in inputs))
    whole = net.run()
    for schedule in SCHEDULES:
        try:
            tiled = oc.tiled(net.model, schedule=schedule, axes=AXIS, block=max(LEAST_BLOCK, step))
            outcome.errors[schedule] = _error(tensors(tiled(*net.inputs)), whole)
            if twin:
                outcome.twins[schedule] = _twin(net, tiled)
        except oc.OverlapcalcError as error:
            outcome.errors[schedule] = f"{type(error).__name__}: {str(error)[:120]}"
    outcome.seconds = time.perf_counter() - started
    return outcome


def _needs(model: nn.Module, shapes: Shapes) -> tuple[int, int] | None:
    """The longest tile and the step; None where there is no answer."""
    try:
        a = oc.analyze(model, list(shapes), axes=AXIS)
    except oc.OverlapcalcError:
        return None
    if not a.blocking_free:
        return None
    tiles = [pair[AXIS].tile for pair in a.pairs]
    if any(tile is None for tile in tiles):
        return None
    return max(tile.total for tile in tiles if tile is not None), a.grid[AXIS].step[0]


def _error(parts: Outputs, whole: Outputs) -> float:
    return max(relative(part, y, float(y.abs().max())) for part, y in zip(parts, whole, strict=True))


def _twin(net: Net, tiled: oc.Tiled) -> str:
    machine = tiled.machine(*(tuple(x.shape) for x in net.inputs))
    given = dict(zip(machine.plan.inputs, net.inputs, strict=True))
    proof = exact_twin(net.model, machine.variants, machine.plan, given, torch.device("cpu"))
    return proof.status if proof.status == PROVED else f"{proof.status}: {proof.reason}"


if __name__ == "__main__":
    raise SystemExit(main())
