"""Operators of any kind in a loop: samples that are made in one way run as a batch of small regions.

An operator's law repeats along each axis. So samples whose windows lie within the image, and that stand at the same
place of a period, differ only in where they read; those at a border are told apart by their own places.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...algebra.spans import Span, Spans
from ...errors import NoSlabError
from ...propagate.grid import Grid
from .calls import Caller, Group, in_group
from .demand import raveled, unravelled
from .placed import placed_along
from .rows import fits

CPU = torch.device("cpu")

if TYPE_CHECKING:
    from .machine import LoopMachine
    from .program import Ranges


class Groups:
    """The samples of one operator, by the ways in which they are made. Raises NoSlabError where it cannot run so."""

    def __init__(self, machine: LoopMachine, caller: Caller, ranges: Ranges) -> None:
        self.machine, self.caller, self.node = machine, caller, caller.node
        node = caller.node
        net, axes = machine.net, machine.axes
        self.form = machine.program.form(node.name)
        self.paths = net.values[node.name].paths
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
        self.places = unravelled(ranges.samples, self.form.sizes)
        kinds, self.spans = [], list[dict[str, list[Span | None]]]()
        for k, axis in enumerate(axes):
            kind, spans = self._along(axis, self.form.sizes[k], alike=axis not in differing)
            kinds.append(kind[self.places[k]])
            self.spans.append(spans)
        self.kinds = torch.stack(kinds, 1)

    def _along(self, axis: str, length: int, *, alike: bool) -> tuple[Tensor, dict[str, list[Span | None]]]:
        """For each place along an axis: in which way it is made, and what it reads of each operand. alike: whether
        places inside the image are made in one way; not where a constant differs from one to the next."""
        net = self.machine.net
        period = Grid(net, axis).per_step(self.node.name)
        kinds, spans = [], {operand: list[Span | None]() for operand in self.operands}
        for o in range(length):
            inside = alike
            for operand in self.operands:
                size = net.size(operand, axis)
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

    def __call__(self, start: int, stop: int) -> Tensor:
        """The samples from `start` to `stop` of the ranges, as rows."""
        kinds, which = torch.unique(self.kinds[start:stop], dim=0, return_inverse=True)
        made: Tensor | None = None
        for i in range(len(kinds)):
            chosen = (which == i).nonzero().flatten()
            rows = self._group(chosen + start)
            if made is None:
                made = rows.new_empty(stop - start, rows.shape[1])
            made[chosen.to(self.machine.device)] = rows
        assert made is not None
        return made

    def _group(self, chosen: Tensor) -> Tensor:
        machine, program = self.machine, self.machine.program
        places = [place[chosen] for place in self.places]
        like = tuple(int(place[0]) for place in places)
        regions: dict[str, Mapping[str, Span]] = {}
        operands: dict[str, Tensor] = {}
        absent = {}
        for operand in self.operands:
            spans = [along[operand] for along in self.spans]
            first = [along[at] for along, at in zip(spans, like, strict=True)]
            own = {axis: span for axis, span in zip(machine.axes, first, strict=True) if span is not None}
            if len(own) < len(machine.axes):
                absent[operand] = self.caller.nothing(operand, machine.tables[operand])
                continue
            regions[operand] = own
            lengths = [span.length for span in own.values()]
            begins = [
                torch.tensor([(along[at] or Span(0, 1)).start for at in place.tolist()], device=CPU)
                for along, place in zip(spans, places, strict=True)
            ]
            form = program.form(operand)
            inside = unravelled(torch.arange(prod(lengths), device=CPU), lengths)
            numbers = raveled([b[:, None] + i[None, :] for b, i in zip(begins, inside, strict=True)], form.sizes)
            slots = machine.slots[operand][numbers]
            read = machine.tables[operand].index_select(0, slots.flatten().to(machine.device))
            operands[operand] = form.tensors(read.reshape(len(chosen), -1, form.width), lengths)
        made = in_group(self.caller, Group(like, regions, absent), operands, len(chosen))
        return self.form.rows_of_each(made, (1,) * len(machine.axes)).flatten(0, 1)
