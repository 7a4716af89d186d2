"""Analysis -> Plan for the schedules trim and stream, in which every layer computes only what is needed of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import product
from math import prod

from ..analysis.analysis import Analysis
from ..errors import Argument, InputError
from ..propagate.grid import Grid
from ..propagate.regions import Extents, Region, extents_for, joint_regions
from ..propagate.stream_front import StreamFront
from ..propagate.values import Propagation
from .costs import Costs, Work
from .options import DEFAULT_BLOCK, Blocking, Blocks, per_axis
from .plan import Cell, Plan, Weigh
from .strips import Cutter, Strip, fed_ratio, labels_of

DEFAULT_BAND = 32
"""Rows of a band of a stream: enough to keep kernels busy, few enough to stay in cache."""


def slab_plan(
    analysis: Analysis, blocking: Blocking, schedule: str, *, stored: bool, dtype: str | None, weigh: Weigh | None
) -> Plan:
    """A plan for trim or stream. weigh: predicts its memory, which needs the engine (engine/weigh.py). Raises
    InputError."""
    net, block = analysis.variants.net, blocking.block
    cutters = {axis: Cutter(net, axis) for axis in analysis.axes}
    along = _stream_axis(cutters, blocking.stream_axis) if schedule == "stream" else None
    if along is None:
        sizes = per_axis(cutters, DEFAULT_BLOCK if block is None else block, "block")
    else:
        order = sorted(cutters, key=lambda axis: axis != along)
        band: Blocks = DEFAULT_BAND if block is None else block
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
        stream_axis=along,
        stored=stored,
        weigh=weigh,
    )


WHOLE = 1 << 60
"""A block longer than any axis."""


def _stream_axis(cutters: Mapping[str, Cutter], wanted: str | None) -> str:
    if wanted is not None and wanted not in cutters:
        raise InputError(Argument("stream_axis", wanted), f": no such axis is cut here; there is {', '.join(cutters)}")
    return wanted or max(cutters, key=lambda axis: cutters[axis].steps * cutters[axis].finest)


def calls(
    net: Propagation, strips: Mapping[str, Strip], along: str | None
) -> Iterator[tuple[Mapping[str, Region], int]]:
    """The regions that are computed together, and how many times regions of these sizes occur."""
    groups: list[list[tuple[str, Extents, int]]] = []
    for axis, strip in strips.items():
        front, grid = StreamFront(net, axis) if axis == along else None, Grid(net, axis)
        kinds: dict[Kind, Extents] = {}
        counted: Counter[Kind] = Counter()
        for slot in strip.slots:
            extents = extents_for(net, axis, slot.outputs) if front is None else front.gains(slot.outputs)
            kind = kind_of(grid, extents)
            kinds.setdefault(kind, extents)
            counted[kind] += 1
        groups.append([(axis, kinds[kind], times) for kind, times in counted.items()])
    for chosen in product(*groups):
        regions = joint_regions(net, {axis: extents for axis, extents, _ in chosen})
        yield regions, prod(times for _, _, times in chosen)


Kind = tuple[tuple[str, int, int], ...]
"""For each node the length of its part along one axis, and where on the grid that begins."""


def kind_of(grid: Grid, extents: Extents) -> Kind:
    """What parts of one axis must have in common to cost and to hold the same."""
    return tuple((n, span.length, span.start % grid.per_step(n)) for n, span in sorted(extents.items()))


def cell_regions(net: Propagation, cell: Cell) -> dict[str, Region]:
    """Node -> the region of it that a block, or a column of blocks, needs; other nodes are not needed."""
    return joint_regions(net, {axis: extents_for(net, axis, slot.outputs) for axis, slot in cell.items()})
