"""Analysis -> Plan: which blocks, on which tiles, at what cost. No torch here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from math import prod

from ..analysis.analysis import Analysis
from ..analysis.tile_check import Cut, differing_axes, shapes_after
from ..errors import Argument, InputError, TraceError
from .byte_size import bytes_text
from .costs import Costs, Left, Work
from .fixed_tiles import fixed
from .obstacles import schedule_for, variants_for
from .options import Blocking, Tile, default_block, per_axis, sides_per_axis
from .plan import Memory, Plan, Weigh
from .slabs import slab_plan
from .strips import Cutter, Strip, fed_ratio, labels_of

UNLIKELY = 0.5
"""A block is not tried if this much of its share of the whole image's memory is more than the budget leaves."""
LIKELY = 0.8
"""Nor if it is so for this much of the least part of their share that the blocks tried before it took."""
PARTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128, 192, 256, 384, 512, 1024, 2048, 4096)
"""The numbers of blocks into which a budget may cut an axis."""


def make_plan(
    analysis: Analysis,
    blocking: Blocking | None = None,
    *,
    tile: Tile | None = None,
    stored: bool = False,
    dtype: str | None = None,
    weigh: Weigh | None = None,
) -> Plan:
    """The requested plan; if no schedule is given crop, or a stream where only that runs. Raises InputError,
    ObstacleError.

    tile: the sides of tiles, for crop, instead of those that the net needs. stored, dtype: as for `overlapcalc.plan`.
    weigh: predicts the memory of trim and stream, which needs the engine.
    """
    blocking = blocking or Blocking()
    schedule = schedule_for(analysis, blocking)
    variants = variants_for(analysis, schedule)
    if schedule != "crop":
        if tile is not None:
            raise InputError(Argument("tile", tile), f" is for the schedule crop; {schedule} has no tiles")
        return slab_plan(analysis, variants, blocking, schedule, stored=stored, dtype=dtype, weigh=weigh)
    planner = _CropPlanner(analysis, stored, dtype)
    if blocking.budget is not None:
        return planner.within(blocking.budget)
    if blocking.fixed_tile is not None:
        return planner.of_equal_tiles(per_axis(planner.cutters, blocking.fixed_tile, "fixed_tile"))
    block = default_block(analysis.layouts.values()) if blocking.block is None else blocking.block
    steps = planner.steps(per_axis(planner.cutters, block, "block"))
    return planner.of(steps) if tile is None else planner.on_tiles(steps, sides_per_axis(planner.cutters, tile))


class _CropPlanner:
    def __init__(self, analysis: Analysis, stored: bool, dtype: str | None) -> None:
        self._analysis, self._variants, self._net = analysis, analysis.variants, analysis.variants.net
        self._stored, self._dtype = stored, dtype
        self.cutters = {axis: Cutter(self._net, axis) for axis in analysis.axes}
        self._costs = Costs(self._net)

    # ---- options ------------------------------------------------------------------------------------------

    def steps(self, blocks: Mapping[str, int]) -> dict[str, int]:
        """Block sizes in whole steps; an axis that is not named stays whole."""
        return {
            axis: cutter.whole_steps(blocks[axis]) if axis in blocks else cutter.steps
            for axis, cutter in self.cutters.items()
        }

    # ---- plans --------------------------------------------------------------------------------------------

    def of(self, steps: Mapping[str, int]) -> Plan:
        return self._plan(self._settled(steps))

    def on_tiles(self, steps: Mapping[str, int], sides: Mapping[str, tuple[int, int]]) -> Plan:
        """The same blocks on tiles with this many samples around them, less at the borders. Raises InputError.

        Costs stay those of the tiles that the net needs: on shorter ones it may not even run.
        """
        needed, strips = self._settled(steps), {}
        for axis, strip in needed.items():
            slots = tuple(self.cutters[axis].with_sides(slot, *sides[axis]) for slot in strip.slots)
            strips[axis] = replace(strip, slots=slots)
        return self._plan(needed, on=strips)

    def of_equal_tiles(self, tiles: Mapping[str, int]) -> Plan:
        strips = {}
        for axis, cutter in self.cutters.items():
            strips[axis] = fixed(cutter, tiles[axis]) if axis in tiles else cutter.strip(cutter.steps)
        differing = self._differing(strips)
        if differing:
            raise InputError(
                f"no tiles of {dict(tiles)}: along {', '.join(sorted(differing))} the net computes something else on "
                "tiles of this length; choose larger ones"
            )
        return self._plan(strips)

    def within(self, budget: int) -> Plan:
        """The plan with the least work whose memory stays within a budget in bytes. Raises InputError."""
        least: int | None = None
        try:
            whole = self._variants.run_memory(self._shapes_of({}), self._dtype)
            fixed = whole.weights + (0 if self._stored else whole.outputs)
            part, taken = UNLIKELY, float("inf")
            for steps in self._candidates():
                strips = self._strips(steps, {})
                share = whole.peak * self._share(strips)
                if share * part > max(budget - fixed, 0):
                    continue
                held = self._memory(strips).total
                taken = min(taken, (held - fixed) / max(share, 1))
                part = max(UNLIKELY, LIKELY * taken)
                least = held if least is None else min(least, held)
                if held <= budget:
                    best = self.of(steps)
                    if best.memory is not None and best.memory.total <= budget:
                        return best
        except TraceError as error:
            raise InputError(f"the memory of blocks cannot be predicted: {error}; give a block size") from error
        raise InputError(
            f"no block of this image fits into {bytes_text(budget)} with the schedule crop: "
            f"{'the weights' if self._stored else 'the weights and the output of the whole image'} are held throughout"
            f"{'' if least is None else f', and the least that was found is {bytes_text(least)}'}"
        )

    def _candidates(self) -> Iterator[dict[str, int]]:
        """Block sizes by samples fed, the fewest first; the smaller of two neighbours may need less memory."""
        options: dict[str, list[tuple[int, int]]] = {}
        for axis, cutter in self.cutters.items():
            sizes = sorted({-(-cutter.steps // n) for n in PARTS if n <= cutter.steps}, reverse=True)
            options[axis] = [(steps, _fed(cutter.strip(steps))) for steps in sizes]
        every = [dict(zip(options, chosen, strict=True)) for chosen in product(*options.values())]
        every.sort(key=lambda c: (prod(fed for _, fed in c.values()), -prod(steps for steps, _ in c.values())))
        for chosen in every:
            yield {axis: steps for axis, (steps, _) in chosen.items()}

    def _strips(self, steps: Mapping[str, int], extra: Mapping[str, int]) -> dict[str, Strip]:
        strips = {}
        for axis, cutter in self.cutters.items():
            strip = cutter.strip(steps[axis], extra.get(axis, 0))
            if all(slot.first + slot.last == 0 for slot in strip.slots):
                strip = cutter.strip(cutter.steps)  # every tile is the whole axis: one is enough
            strips[axis] = strip
        return strips

    def _settled(self, steps: Mapping[str, int]) -> dict[str, Strip]:
        """Tiles on which the net is the same: longer where it does not run or is another one (see tile_check.py)."""
        extra = dict.fromkeys(steps, 0)
        while True:
            strips = self._strips(steps, extra)
            differing = self._differing(strips)
            if not differing:
                return strips
            for axis in differing:
                extra[axis] = 2 * extra[axis] or 1

    def _differing(self, strips: Mapping[str, Strip]) -> frozenset[str]:
        """The axes along which the net is another one on some tile. Every shape of tile is checked.

        A trace tells for certain. Where a pass over shapes makes the same calls as a tile that was traced, none is
        needed.
        """
        differing: frozenset[str] = frozenset()
        known: set[str] = set()
        for shape in _shapes(strips):
            trail = self._trail(shape)
            if trail in known:
                continue
            found = differing_axes(self._variants, self._net, shape)
            differing |= found
            if trail is not None and not found:
                known.add(trail)
        return differing

    def _trail(self, cuts: Mapping[str, Cut]) -> str | None:
        try:
            return self._variants.run_memory(self._shapes_of(cuts), self._dtype).trail
        except TraceError:
            return None

    def _plan(self, strips: Mapping[str, Strip], *, on: Mapping[str, Strip] | None = None) -> Plan:
        """The plan of these strips. on: the tiles to run on, if they differ from those whose costs are counted."""
        total, largest = Work(), Work()
        for left, times in kinds(strips):
            one = self._costs.of(left)
            total += one.times(times)
            largest = max(largest, one, key=lambda work: work.kernel_macs)
        return Plan(
            schedule="crop",
            inputs=self._analysis.inputs,
            outputs=self._analysis.outputs,
            labels=labels_of(self._net),
            strips=dict(strips if on is None else on),
            work=total,
            largest=largest,
            full=self._costs.of({}),
            dtype=self._dtype,
            fed=fed_ratio(self._net, strips),
            leaves=self._net.traced.leaves,
            fixed=self._net.traced.fixed,
            stored=self._stored,
            weigh=lambda _: self._weighed(strips),
        )

    def _weighed(self, strips: Mapping[str, Strip]) -> tuple[Memory, Memory] | None:
        try:
            blocks = self._memory(strips)
            whole = self._variants.run_memory(self._shapes_of({}), self._dtype)
        except TraceError:
            return None
        return blocks, Memory(whole.peak, whole.weights)

    def _memory(self, strips: Mapping[str, Strip]) -> Memory:
        """The output of the whole image unless it is stored, the largest tile, and what the net computes from it."""
        cuts = {}
        for axis, strip in strips.items():
            longest = min(strip.slots, key=lambda slot: slot.first + slot.last)
            cuts[axis] = Cut(longest.first + longest.last, strip.like)
        whole = self._variants.run_memory(self._shapes_of({}), self._dtype)
        if not any(cut.steps for cut in cuts.values()):
            return Memory(whole.inputs + whole.peak, whole.weights)
        tile = self._variants.run_memory(self._shapes_of(cuts), self._dtype)
        kinds = prod(len({slot.first + slot.last for slot in strip.slots}) for strip in strips.values())
        outputs = 0 if self._stored else whole.outputs
        return Memory(outputs + tile.inputs + tile.peak + (kinds - 1) * tile.code, whole.weights)

    def _share(self, strips: Mapping[str, Strip]) -> float:
        """The largest tile's share of the samples of the image."""
        share = 1.0
        for axis, strip in strips.items():
            size = max(self.cutters[axis].steps, 1)
            share *= 1 - min(slot.first + slot.last for slot in strip.slots) / size
        return share

    def _shapes_of(self, cuts: Mapping[str, Cut]) -> tuple[tuple[int, ...], ...]:
        return shapes_after(self._net, cuts)


def _fed(strip: Strip) -> int:
    return sum(span.length for slot in strip.slots for span in slot.tiles.values())


def _shapes(strips: Mapping[str, Strip]) -> list[dict[str, Cut]]:
    """Every shape of tile, the largest first: a net may compare one axis with another."""
    lengths = [sorted({slot.first + slot.last for slot in strip.slots}) for strip in strips.values()]
    return [
        {axis: Cut(steps, strips[axis].like) for axis, steps in zip(strips, chosen, strict=True)}
        for chosen in product(*lengths)
    ]


def kinds(strips: Mapping[str, Strip]) -> Iterator[tuple[dict[str, Left], int]]:
    """The different shapes of tiles, by what they leave out along each axis, and how many there are of each."""
    groups: list[list[tuple[Left, int]]] = []
    for strip in strips.values():
        lengths = Counter(slot.first + slot.last for slot in strip.slots)
        one = {slot.first + slot.last: Left(slot.first, slot.last, strip.like) for slot in strip.slots}
        groups.append([(one[lost], times) for lost, times in lengths.items()])
    for chosen in product(*groups):
        yield dict(zip(strips, (left for left, _ in chosen), strict=True)), prod(times for _, times in chosen)
