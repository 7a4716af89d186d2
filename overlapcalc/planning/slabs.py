"""Analysis -> Plan for the schedules trim and stream, in which every layer computes only what is needed of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import product
from math import prod

from ..analysis.analysis import Analysis
from ..analysis.variants import Variants
from ..errors import Argument, InputError
from ..propagate.grid import Grid
from ..propagate.regions import Extents, Region, extents_for, joint_regions
from ..propagate.stream_front import StreamFront
from ..propagate.values import Propagation
from .costs import Costs, Work
from .options import Blocking, Blocks, default_block, per_axis
from .plan import Cell, Plan, Weigh
from .sized_strips import SizedCutter
from .strips import Cutter, Strip, fed_ratio, labels_of


def slab_plan(
    analysis: Analysis,
    variants: Variants,
    blocking: Blocking,
    schedule: str,
    *,
    stored: bool,
    dtype: str | None,
    weigh: Weigh | None,
) -> Plan:
    """A plan for trim or stream. variants: the net as these run it. weigh: predicts its memory, which needs the engine
    (engine/weigh.py). Raises InputError."""
    net, block = variants.net, blocking.block
    cut = Cutter if variants is analysis.variants else SizedCutter
    cutters = {axis: cut(net, axis) for axis in analysis.axes}
    along = _stream_axis(cutters, blocking.stream_axis) if schedule == "stream" else None
    if along is None:
        sizes = per_axis(cutters, default_block(analysis.layouts.values()) if block is None else block, "block")
    else:
        order = sorted(cutters, key=lambda axis: axis != along)
        band: Blocks = default_block(analysis.layouts.values(), band=True) if block is None else block
        sizes = per_axis(order, (band,) if isinstance(band, int) else band, "block")  # of one number: the band
    strips = {axis: cutter.free_strip(sizes.get(axis, WHOLE)) for axis, cutter in cutters.items()}
    costs = Costs(net)
    total, largest = Work(), Work()
    for regions, times in calls(net, strips, along):
        one = costs.on(regions)
        total += one.times(times)
        largest = max(largest, one, key=lambda work: work.kernel_macs)
    return Plan(
        schedule=schedule,
        inputs=analysis.inputs,
        outputs=analysis.outputs,
        labels=labels_of(net),
        strips=strips,
        work=total,
        largest=largest,
        full=costs.of({}),
        dtype=dtype,
        fed=fed_ratio(net, strips, along),
        leaves=net.traced.leaves,
        fixed=net.traced.fixed,
        stream_axis=along,
        stored=stored,
        weigh=weigh,
    )


WHOLE = 1 << 60
"""A block longer than any axis."""


def _stream_axis(cutters: Mapping[str, Cutter | SizedCutter], wanted: str | None) -> str:
    if wanted is not None and wanted not in cutters:
        raise InputError(Argument("stream_axis", wanted), f": no such axis is cut here, only {', '.join(cutters)}")
    return wanted or max(cutters, key=lambda axis: cutters[axis].length)


def calls(
    net: Propagation, strips: Mapping[str, Strip], along: str | None
) -> Iterator[tuple[Mapping[str, Region], int]]:
    """The regions that are computed together, and how many times regions of these sizes occur.

    along: of a stream; what does not have this axis is computed with the first band of a column, and held.
    """
    held = frozenset(node.name for node in net.graph if along is not None and net.size(node.name, along) is None)
    groups: list[list[tuple[str, Extents, frozenset[str], int]]] = []
    for axis, strip in strips.items():
        front, grid = StreamFront(net, axis) if axis == along else None, Grid(net, axis)
        kinds: dict[tuple[frozenset[str], PartKind], Extents] = {}
        counted: Counter[tuple[frozenset[str], PartKind]] = Counter()
        for i, slot in enumerate(strip.slots):
            extents = extents_for(net, axis, slot.outputs) if front is None else front.gains(slot.outputs)
            kind = held if axis == along and i else frozenset(), part_kind_of(grid, extents)
            kinds.setdefault(kind, extents)
            counted[kind] += 1
        groups.append([(axis, kinds[kind], kind[0], times) for kind, times in counted.items()])
    for chosen in product(*groups):
        regions = joint_regions(net, {axis: extents for axis, extents, _, _ in chosen})
        there = frozenset[str]().union(*(names for _, _, names, _ in chosen))
        yield (
            {name: region for name, region in regions.items() if name not in there},
            prod(times for _, _, _, times in chosen),
        )


PartKind = tuple[tuple[str, int, int], ...]
"""For each node the length of its part along one axis, and where on the grid that begins."""


def part_kind_of(grid: Grid, extents: Extents) -> PartKind:
    """What parts of one axis must have in common to cost and to hold the same."""
    return tuple((n, span.length, span.start % grid.per_step(n)) for n, span in sorted(extents.items()))


def cell_regions(net: Propagation, cell: Cell) -> dict[str, Region]:
    """Node -> the region of it that a block, or a column of blocks, needs; other nodes are not needed."""
    return joint_regions(net, {axis: extents_for(net, axis, slot.outputs) for axis, slot in cell.items()})
