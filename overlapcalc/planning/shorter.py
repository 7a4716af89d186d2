"""The blocks of a net on tiles shorter than it needs, as plans for `crop`: what a smaller overlap would run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from ..analysis.analysis import Analysis
from ..errors import InputError
from .costs import Work
from .crop import make_plan
from .obstacles import refuse_obstacles
from .options import Blocking, Blocks, default_block, per_axis
from .plan import Plan
from .strips import BlockSpan, Cutter, fed_ratio, labels_of

Tiles = Mapping[str, tuple[int, int]]
"""Per axis, the samples of the input that a tile has before and after its block, except where the image ends."""

PARTS = 4
"""Blocks along an axis, if no length is given."""


class ShorterTiles:
    """The same blocks on tiles of any length. block: as for a plan; a quarter of the image where it is not given.

    Raises InputError where a single block covers the image or an axis has no joint grid of blocks, ObstacleError where
    that is because of an obstacle.
    """

    def __init__(self, analysis: Analysis, block: Blocks | None) -> None:
        self._analysis, self._net = analysis, analysis.variants.net
        try:
            self.cutters = self._cutters()
        except InputError:
            self._follow_states()
        self._steps = self._whole_steps(block)
        self.strips = {axis: cutter.strip(self._steps[axis]) for axis, cutter in self.cutters.items()}
        if all(len(strip.slots) == 1 for strip in self.strips.values()):
            image = ", ".join("x".join(map(str, shape)) for shape in analysis.inputs.values())
            raise InputError(
                f"one block takes the whole image ({image}), so there are no seams; give smaller blocks or a larger "
                "image"
            )

    @property
    def block(self) -> dict[str, int]:
        """The length of a block along each axis, in samples of the finer of input and output."""
        return {axis: strip.block for axis, strip in self.strips.items()}

    @property
    def cut(self) -> tuple[str, ...]:
        """The axes along which there are several blocks."""
        return tuple(axis for axis, strip in self.strips.items() if len(strip.slots) > 1)

    @cached_property
    def whole(self) -> dict[str, tuple[int, int]]:
        """The sides with which every tile is the whole image."""
        found = {}
        for axis, strip in self.strips.items():
            uncut = [replace(slot, first=0, last=0) for slot in strip.slots]
            found[axis] = self._most(axis, uncut)
        return found

    @cached_property
    def exact(self) -> dict[str, tuple[int, int]]:
        """The shortest sides that do for every block; the whole image for a net with obstacles."""
        if not self._analysis.blocking_free:
            return self.whole
        plan = make_plan(self._analysis, Blocking(block=self.block))
        found = {}
        for axis, strip in plan.strips.items():
            collapsed = len(strip.slots) < len(self.strips[axis].slots)  # no tile is shorter than the axis
            found[axis] = self.whole[axis] if collapsed else self._most(axis, strip.slots)
        return found

    @cached_property
    def local(self) -> dict[str, tuple[int, int]]:
        """The sides that the local part of the net needs, whatever its obstacles compute held fixed."""
        return {axis: self._most(axis, strip.slots) for axis, strip in self.strips.items()}

    @property
    def step(self) -> int:
        """The smallest step of all axes: sides of tiles are whole steps."""
        return min(cutter.step for cutter in self.cutters.values())

    @property
    def rest(self) -> dict[str, int]:
        """The samples that the image has beyond whole steps along the axes that are cut, and so every tile, too."""
        sizes = {axis: self._net.size(self.cutters[axis].finest_input, axis) or 0 for axis in self.cut}
        return {axis: n % self.cutters[axis].step for axis, n in sizes.items() if n % self.cutters[axis].step}

    def within(self, most: int) -> dict[str, tuple[int, int]]:
        """The exact sides, but none longer than `most` samples, in whole steps of its axis."""
        found = {}
        for axis, (before, after) in self.exact.items():
            longest = most // self.cutters[axis].step * self.cutters[axis].step
            found[axis] = min(before, longest), min(after, longest)
        return found

    def plan(self, tiles: Tiles) -> Plan:
        """The blocks on these tiles, without costs. Raises InputError where the net cannot give a block on its tile."""
        strips = {}
        for axis, strip in self.strips.items():
            slots = tuple(self.cutters[axis].with_sides(slot, *tiles[axis]) for slot in strip.slots)
            for slot in slots:
                _refuse_missing(axis, slot)
            strips[axis] = replace(strip, slots=slots)
        return Plan(
            schedule="crop",
            inputs=self._analysis.inputs,
            outputs=self._analysis.outputs,
            labels=labels_of(self._net),
            strips=strips,
            work=Work(),
            largest=Work(),
            full=Work(),
            dtype=None,
            fed=fed_ratio(self._net, strips),
            leaves=self._net.traced.leaves,
            fixed=self._net.traced.fixed,
        )

    def _cutters(self) -> dict[str, Cutter]:
        return {axis: Cutter(self._net, axis) for axis in self._analysis.axes}

    def _follow_states(self) -> None:
        """Blocks of a net that carries a state along an axis, which is no axis behind it by the laws of tiles. Raises
        ObstacleError for any other with obstacles, else InputError."""
        one_sided = self._analysis.variants.one_sided
        try:
            self._net = one_sided.net if one_sided is not None else self._net
            self.cutters = self._cutters()
        except InputError:
            refuse_obstacles(self._analysis, self._analysis.variants)  # they are why, if there are any
            raise

    def _whole_steps(self, block: Blocks | None) -> dict[str, int]:
        if block is None:
            most = default_block(self._analysis.layouts.values())
            return {a: min(c.whole_steps(most), -(-c.steps // PARTS)) for a, c in self.cutters.items()}
        asked = per_axis(self.cutters, block, "block")
        return {a: c.whole_steps(asked[a]) if a in asked else c.steps for a, c in self.cutters.items()}

    def _most(self, axis: str, slots: Sequence[BlockSpan]) -> tuple[int, int]:
        sides = [self.cutters[axis].sides(slot) for slot in slots]
        return max(before for before, _ in sides), max(after for _, after in sides)


def _refuse_missing(axis: str, slot: BlockSpan) -> None:
    for name, span in slot.outputs.items():
        given = slot.given[name]
        if span.start < given.start or span.stop > given.stop:
            tile = ", ".join(f"{input} {held}" for input, held in slot.tiles.items())
            raise InputError(f"on a tile of {tile} along {axis} the net gives {name} {given}, and the block is {span}")
