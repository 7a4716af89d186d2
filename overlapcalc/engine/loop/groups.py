"""Operators of any kind in a loop: samples that are made in one way run as a batch of small regions.

An operator's law repeats along each axis. So samples whose windows lie within the image, and that stand at the same
place of a period, differ only in where they read; those at a border are told apart by their own places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...algebra.spans import Span, Spans
from ...errors import NoSlabError
from ...ops.graph import Node
from ...propagate.grid import Grid
from .calls import Caller, Group, in_group
from .demand import raveled, unravelled
from .placed import placed_along
from .rows import fits

CPU = torch.device("cpu")

if TYPE_CHECKING:
    from .machine import LoopMachine
    from .program import Program


@dataclass(frozen=True)
class Part:
    """Samples of one range that are made in one way. chosen: their places in the range; all of them where None.

    like: one of them, as a place along each axis. regions: for each operand, what that one reads, as a span along each
    axis; rows: where what each sample reads of it is held, sample by sample. absent: operands of which it reads
    nothing.
    """

    count: int
    chosen: Tensor | None
    like: tuple[int, ...]
    regions: Mapping[str, Mapping[str, Span]]
    rows: Mapping[str, Tensor]
    absent: tuple[str, ...]


class Grouping:
    """The samples of one operator, by the ways in which they are made: what depends on the program alone, and is kept
    with it from run to run. Raises NoSlabError where it cannot run so."""

    def __init__(self, program: Program, node: Node, samples: Tensor) -> None:
        self.net, self.axes, self.form_of = program.net, program.axes, program.form
        net, axes = self.net, self.axes
        form = program.form(node.name)
        self.node, self.paths = node, net.values[node.name].paths
        self.operands = tuple(dict.fromkeys(path.operand for path in self.paths))
        for operand in self.operands:
            layout = net.values[operand].layout
            read_whole = any(axis not in path.axes for path in self.paths if path.operand == operand for axis in axes)
            if not fits(layout, axes) or read_whole:
                where = net.names.get(node.name) or node.layer or node.name
                missing = [axis for axis in axes if axis not in layout.labels]
                why = f"{operand}, which has no {', '.join(missing)}: expand it over the image before"
                if not missing:
                    why = f"all of {operand} along an axis at every sample, so it cannot run in a loop"
                raise NoSlabError(f"{where}: {node.called} reads {why}")
        differing = {a for placed in placed_along(net, axes, node.name) if placed.differs for a in placed.axes}
        self.places = unravelled(samples, form.sizes)
        kinds, self.spans = [], list[dict[str, list[Span | None]]]()
        for k, axis in enumerate(axes):
            kind, spans = self._along(axis, form.sizes[k], alike=axis not in differing)
            kinds.append(kind[self.places[k]])
            self.spans.append(spans)
        self.kinds = torch.stack(kinds, 1)
        self._parts: dict[tuple[int, int], tuple[Part, ...]] = {}

    def _along(self, axis: str, length: int, *, alike: bool) -> tuple[Tensor, dict[str, list[Span | None]]]:
        """For each place along an axis: in which way it is made, and what it reads of each operand. alike: whether
        places inside the image are made in one way; not where a constant differs from one to the next."""
        period = Grid(self.net, axis).per_step(self.node.name)
        kinds, spans = [], {operand: list[Span | None]() for operand in self.operands}
        for o in range(length):
            inside = alike
            for operand in self.operands:
                size = self.net.size(operand, axis)
                assert size is not None
                found = Spans(())
                for path in self.paths:
                    raw = path.axes[axis].reads.reads(o, o + 1) if path.operand == operand else None
                    if raw is not None:
                        folded, before, after = path.axes[axis].border.fold(Spans.span(*raw), size)
                        found, inside = found | folded, inside and not (before or after)
                spans[operand].append(found.hull)
            kinds.append(o % period if inside else period + o)
        return torch.tensor(kinds, device=CPU), spans

    def parts(self, start: int, stop: int, slots: Mapping[str, Tensor]) -> tuple[Part, ...]:
        """Those of the samples from `start` to `stop`. slots: of each operand's samples, the rows that hold them."""
        if (start, stop) not in self._parts:
            kinds, which = torch.unique(self.kinds[start:stop], dim=0, return_inverse=True)
            chosen = [(which == i).nonzero().flatten() for i in range(len(kinds))]
            self._parts[start, stop] = tuple(self._part(own, start, slots, only=len(kinds) == 1) for own in chosen)
        return self._parts[start, stop]

    def _part(self, chosen: Tensor, start: int, slots: Mapping[str, Tensor], *, only: bool) -> Part:
        places = [place[chosen + start] for place in self.places]
        like = tuple(int(place[0]) for place in places)
        regions: dict[str, Mapping[str, Span]] = {}
        rows: dict[str, Tensor] = {}
        absent = []
        for operand in self.operands:
            spans = [along[operand] for along in self.spans]
            first = [along[at] for along, at in zip(spans, like, strict=True)]
            own = {axis: span for axis, span in zip(self.axes, first, strict=True) if span is not None}
            if len(own) < len(self.axes):
                absent.append(operand)
                continue
            regions[operand] = own
            lengths = [span.length for span in own.values()]
            begins = [
                torch.tensor([(along[at] or Span(0, 1)).start for at in place.tolist()], device=CPU)
                for along, place in zip(spans, places, strict=True)
            ]
            inside = unravelled(torch.arange(prod(lengths), device=CPU), lengths)
            at = [b[:, None] + i[None, :] for b, i in zip(begins, inside, strict=True)]
            rows[operand] = slots[operand][raveled(at, self.form_of(operand).sizes)].flatten()
        return Part(len(chosen), None if only else chosen, like, regions, rows, tuple(absent))


class Groups:
    """The samples of one operator in a run."""

    def __init__(self, machine: LoopMachine, caller: Caller, grouping: Grouping) -> None:
        self.machine, self.caller, self.grouping = machine, caller, grouping
        self.form = machine.program.form(caller.node.name)

    def __call__(self, start: int, stop: int) -> Tensor:
        """The samples from `start` to `stop` of the ranges, as rows."""
        made: Tensor | None = None
        for part in self.grouping.parts(start, stop, self.machine.slots):
            rows = self._made(part)
            if part.chosen is None:
                return rows
            if made is None:
                made = rows.new_empty(stop - start, rows.shape[1])
            made[part.chosen.to(self.machine.device)] = rows
        assert made is not None
        return made

    def _made(self, part: Part) -> Tensor:
        machine = self.machine
        operands: dict[str, Tensor] = {}
        for operand, rows in part.rows.items():
            form, lengths = machine.program.form(operand), [span.length for span in part.regions[operand].values()]
            read = machine.tables[operand].index_select(0, rows.to(machine.device))
            operands[operand] = form.tensors(read.reshape(part.count, -1, form.width), lengths)
        absent = {operand: self.caller.nothing(operand, machine.tables[operand]) for operand in part.absent}
        made = in_group(self.caller, Group(part.like, part.regions, absent), operands, part.count)
        return self.form.rows_of_each(made, (1,) * len(machine.axes)).flatten(0, 1)
