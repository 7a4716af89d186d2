"""What sets the step, what sets the tile, and where an obstacle is."""

from __future__ import annotations

import linecache
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce
from math import lcm
from typing import Any

from ..algebra.rates import common_multiple
from ..algebra.spans import Spans
from ..ops.graph import Node
from ..propagate.backward import interior
from ..propagate.grid import Grid
from ..propagate.values import InputAxis, Obstacle, Propagation, joined
from .attributes import Called, detail
from .layers import visible


@dataclass(frozen=True)
class StepReason(Called):
    """A layer that requires the step to be a multiple of `multiple` input samples.

    outputs: how many samples of this layer's output that is. why: "whole" because only whole samples can be shifted,
    "period" because the operator repeats only after that many outputs, "constant" because a constant does, "size"
    because the net as a whole is the same only at multiples of that (it pads to a multiple, say). also: how many
    more layers require the same.
    """

    multiple: Fraction
    outputs: int
    why: str
    also: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {
            **super().to_dict(),
            "multiple": str(self.multiple),
            "outputs": self.outputs,
            "why": self.why,
            "also": self.also,
        }


def step_reasons(net: Propagation, grid: Grid, input: str, axis: str) -> tuple[StepReason, ...]:
    """The fewest layers (as far as a greedy choice finds them) whose requirements together make the step.

    Each layer on the grid requires whole samples of its output, and whole periods of its operator and of its
    constants: the grid comes from every node, not from the final hull.
    """
    step = grid.per_step(input)
    if step == 1:
        return ()
    asked: dict[Fraction, list[StepReason]] = {}
    for node in net.graph:
        if node.op == "input" or not grid.same(node.name, input):
            continue
        outputs, why = _demand(net, node, axis)
        multiple = outputs * Fraction(step, grid.per_step(node.name))
        found = StepReason(
            layer=net.names[node.name],
            op=node.called,
            detail=detail(node),
            source=node.source,
            multiple=multiple,
            outputs=outputs,
            why=why,
        )
        asked.setdefault(multiple, []).append(found)
    chosen: list[Fraction] = []
    for multiple in sorted(asked, reverse=True):
        if _common([*chosen, multiple]) != _common(chosen):
            chosen.append(multiple)
    for multiple in list(chosen):
        others = [m for m in chosen if m != multiple]
        if _common(others) == _common(chosen):
            chosen = others
    out = []
    for multiple in chosen:
        same = asked[multiple]
        first = min(same, key=lambda r: r.why != "whole")  # a stable choice: the first layer that is simply coarser
        out.append(replace(first, also=len(same) - 1))
    if _common(chosen) != step:
        out.append(StepReason(layer="", op="", detail={}, source="", multiple=Fraction(step), outputs=step, why="size"))
    return tuple(out)


def _demand(net: Propagation, node: Node, axis: str) -> tuple[int, str]:
    """The number of its own output samples by whole multiples of which a node must move, and why."""
    value = net.values[node.name]
    periods = [path.axes[axis].reads.period for path in value.paths if axis in path.axes]
    constants = [q for d, q in value.law.period if value.labels[d] == axis]
    outputs = lcm(1, *periods, *constants)
    why = "constant" if lcm(1, *periods) != outputs else "period" if outputs > 1 else "whole"
    return outputs, why


def _common(needs: Iterable[Fraction]) -> Fraction:
    """The smallest whole number (whole samples of the input) that is a multiple of each."""
    return reduce(common_multiple, needs, Fraction(1))


@dataclass(frozen=True)
class TileReason:
    """The tensor that sets one side of the tile: samples of it beyond the block must exist unspoiled.

    needs: how many of its samples beyond the block's own place (0: the block's place is enough); per_step: how many
    one step of the tile brings; length: how many there are in the whole image (a tensor that lacks samples at the
    end of the image lacks them at the end of a tile, too); total: what the tile has on this side, in input samples.
    """

    side: str
    layer: str
    op: str
    needs: int
    per_step: int
    length: int
    total: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "side": self.side,
            "layer": self.layer,
            "op": self.op,
            "needs": self.needs,
            "per_step": self.per_step,
            "length": self.length,
            "total": self.total,
        }


def tile_reasons(net: Propagation, grid: Grid, output: str, input: str, axis: str) -> tuple[TileReason, TileReason]:
    """Per side, the tensor that needs the most steps; the first in order of execution where several do."""
    found = interior(net, output, axis, Spans.span(0, grid.per_step(output)))
    step, size = grid.per_step(input), net.size(input, axis)
    assert size is not None
    before: tuple[Fraction, Node, int] | None = None
    after: tuple[Fraction, Node, int] | None = None
    for node in net.graph:
        span = found.exist.get(node.name)
        length = net.size(node.name, axis)
        if span is None or length is None or not grid.same(node.name, output):
            continue
        r = grid.per_step(node.name)
        front, back = Fraction(-span.start, r), Fraction(length - (span.stop - r), r)
        if before is None or front > before[0]:
            before = (front, node, -span.start)
        if after is None or back < after[0]:
            after = (back, node, span.stop - r)
    assert before is not None
    assert after is not None
    sides = []
    for side, (worth, node, needs) in (("before", before), ("after", after)):
        total = max(0, worth.__ceil__()) * step if side == "before" else size - worth.__floor__() * step
        name, length = net.names.get(node.name, node.name), net.size(node.name, axis)
        assert length is not None
        sides.append(
            TileReason(
                side=side,
                layer=name,
                op=node.called,
                needs=needs,
                per_step=grid.per_step(node.name),
                length=length,
                total=total,
            )
        )
    return sides[0], sides[1]


@dataclass(frozen=True)
class Blame:
    """An obstacle with the text of its source line ("" where it cannot be read) and the layers on the path to it."""

    obstacle: Obstacle
    text: str
    way: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {**self.obstacle.to_dict(), "text": self.text, "way": list(self.way)}


def blame(net: Propagation, obstacle: Obstacle, slot: InputAxis) -> Blame:
    """Where an obstacle is, and the path by which samples of an input come to it."""
    return Blame(obstacle, source_line(obstacle.source), _way(net, obstacle, slot))


def source_line(source: str) -> str:
    """The text at "file:line"; "" where it cannot be read."""
    file, _, line = source.rpartition(":")
    return linecache.getline(file, int(line)).strip() if file and line.isdigit() else ""


def _way(net: Propagation, obstacle: Obstacle, slot: InputAxis) -> tuple[str, ...]:
    """The input, then the rows of the table up to the obstacle; where branches meet, the first that has the input."""
    place = net.slots.index(slot)
    named = (n for n in net.graph if net.names.get(n.name) == obstacle.layer)
    here = next((n for n in named if joined(net, n.name)[place]), None)
    names: list[str] = []
    while here is not None and here.op != "input":
        bringing = [p for p in net.values[here.name].paths if joined(net, p.operand)[place]]
        if not names:  # by the operand that the obstacle is on
            bringing.sort(key=lambda p: slot[1] not in p.obstructed)
        else:
            bringing.sort(key=lambda p: joined(net, p.operand)[place].reads is None)
        if visible(net, here) or not names:
            names.append(net.names.get(here.name, here.name))
        here = net.graph[bringing[0].operand] if bringing else None
    return (slot[0], *reversed(names)) if here is not None else ()
