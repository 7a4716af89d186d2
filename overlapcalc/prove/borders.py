"""Proof 3: the schedule with every artificial border poisoned. No block output may be NaN.

The net runs call by call on the tile. Where an operator would pad at a border that is not the image's, or read a
sample that the tile does not have, there is NaN. On a tile that is large enough none of it reaches the block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..algebra.spans import Span
from ..analysis.variants import Variants
from ..engine.block import within
from ..engine.machine import Machine
from ..engine.schedules.regions import run_regions
from ..engine.slab.frame import SlabTensor
from ..errors import OverlapcalcError
from ..planning.plan import Cell, Plan
from ..propagate.grid import Grid
from ..propagate.regions import Region, whole_region
from ..propagate.values import Propagation
from .against_whole import FAILURES, at_once, by_blocks, said
from .dependency import corners
from .fillings import FINITE, NAN, Fillings
from .result import NOT_APPLICABLE, Proof
from .spread import spread_out
from .watch import WatchedMachine
from .widened import coarsest

NAME = "poisoned borders"
POISONS = {NAN: torch.nan, FINITE[0]: 1e3, FINITE[1]: -7e2}
"""The samples beyond an artificial border. Numbers where NaN would be stopped, or created by zeros of masks."""


def poisoned_borders(
    model: nn.Module, variants: Variants, plan: Plan, inputs: Mapping[str, Tensor], full: Mapping[str, Tensor]
) -> Proof:
    """Every kind of block of the plan, as the net is and with its operands moved into all branches (see spread.py).

    full: the net's outputs on the whole image.
    """
    if not all(bool(y.isfinite().all()) for y in full.values()):
        return Proof(NAME, NOT_APPLICABLE, "the outputs of the net are not finite")
    poisons = [POISONS[filling] for filling in Fillings(variants.net.graph).used()]
    failures, checks = list[str](), 0
    everything = at_once(plan)
    try:
        runs = spread_out(lambda spread: by_blocks(WatchedMachine(model, variants, everything, spread), inputs))
        for spread in runs:
            machine = WatchedMachine(model, variants, plan, spread)
            compared = _poisoned_tiles if plan.schedule == "crop" else _poisoned_slabs
            for where, plain, results in compared(machine, inputs, full, poisons):
                checks += 1
                text = _wrong(results, plain if spread is runs[0] else None, _eps(machine))
                failures += [f"{where}: {text}"] if text else []
    except OverlapcalcError as error:
        return Proof(NAME, NOT_APPLICABLE, str(error))
    except FAILURES as error:
        return Proof(NAME, NOT_APPLICABLE, f"with poison beyond artificial borders {said(error)}")
    what = (
        "blocks at every border and corner and inside, NaN beyond every artificial border"
        if plan.schedule == "crop"
        else "all blocks, NaN for what no slab holds and for what was not written"
    )
    return Proof.of(NAME, what, checks, failures)


Poisoned = Iterator[tuple[str, Tensor, list[Tensor]]]
"""The place of a block, the whole net's result there, and the results of the block's runs, one per poison."""


def _poisoned_tiles(
    machine: Machine, inputs: Mapping[str, Tensor], full: Mapping[str, Tensor], poisons: list[float]
) -> Poisoned:
    """Blocks at every border and corner and inside, with poison beyond every artificial border of their tiles."""
    plan, net = machine.plan, machine.variants.net
    lying = machine.variants.here.net if net.mirrored else net  # calls run on tensors as they lie
    frames = [replace(machine.frame(inputs, poison), net=lying) for poison in poisons]
    for cell in corners(plan):
        regions = tile_regions(net, plan, cell)
        tiles = {}
        for name, x in inputs.items():
            tiles[name] = SlabTensor(x[within(plan.labels[name], regions[name])], regions[name])
        runs = [run_regions(frame, machine.calls, regions, tiles) for frame in frames]
        for shown, node in net.graph.outputs:
            region = plan.region(cell, shown)
            if region is None:
                continue
            here = within(plan.labels[shown], region, regions[node])
            at = " ".join(f"{axis}{span}" for axis, span in region.items())
            plain = full[shown][within(plan.labels[shown], region)]
            yield f"{shown} {at}", plain, [found[node].tensor[here] for found in runs]


def _poisoned_slabs(
    machine: Machine, inputs: Mapping[str, Tensor], full: Mapping[str, Tensor], poisons: list[float]
) -> Poisoned:
    """All blocks of trim or stream, with poison for whatever no slab holds."""
    runs = [by_blocks(machine, inputs, poison=poison) for poison in poisons]
    for name, plain in full.items():
        yield name, plain, [found[name] for found in runs]


def _eps(machine: Machine) -> float:
    """The largest relative step of the types on the way."""
    found = coarsest(call.dtype for call in machine.calls.calls.values())
    return torch.finfo(found).eps if found is not None else 0.0


def _wrong(results: list[Tensor], plain: Tensor | None, eps: float) -> str:
    """What is wrong with a block: samples that are NaN, or that differ from one poison to the next, or from `plain`."""
    result = results[0]
    spoiled = torch.zeros_like(result, dtype=torch.bool)
    for other in results:
        spoiled |= (other != result) | (other != other)
    if bool(spoiled.any()):
        return f"{int(spoiled.sum())} of {result.numel()} samples come from beyond the tile"
    if plain is None:
        return ""
    if not result.is_floating_point():
        return "" if bool((result == plain).all()) else "other values than the whole net"
    apart = float((result - plain).abs().max())
    largest = float(plain.abs().max())
    step = max(torch.finfo(result.dtype).eps, eps)
    allowed = step**0.5 * max(largest, 1e-30)  # enough to tell that the calls are those of the net
    return "" if apart <= allowed else f"call by call it is off by {apart:.2g} of {largest:.2g}"


def tile_regions(net: Propagation, plan: Plan, cell: Cell) -> dict[str, Region]:
    """The regions of all tensors that the net computes on the tile of a block."""
    regions: dict[str, Region] = {}
    grids = {axis: Grid(net, axis) for axis in cell}
    for node in net.graph:
        region = whole_region(net, node.name)
        for axis, slot in cell.items():
            like = plan.strips[axis].like
            if axis in region and grids[axis].same(node.name, like):
                per_step = grids[axis].per_step(node.name)
                first, last = slot.first * per_step, slot.last * per_step
                if axis in net.mirrored.get(node.name, ()):  # it is followed from its other end
                    first, last = last, first
                region[axis] = Span(first, region[axis].stop - last)
        regions[node.name] = region
    return regions
