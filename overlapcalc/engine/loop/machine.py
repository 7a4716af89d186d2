"""A loop at work: chains of operators on the samples of one time, held between them as rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from ...ops.call import Call
from ...propagate.regions import whole_region
from ...propagate.values import Propagation
from ...trace.runnable import Runnable
from ..slab.frame import Frame, SlabTensor, dims_of
from .calls import Caller, on_samples
from .chains import Chain, is_pointwise, is_zero_pad
from .demand import OUTSIDE, raveled, samples_read, unravelled
from .groups import Groups
from .hooked import hooked
from .kernels import Convolution, convolution, prepared
from .placed import placed_along
from .program import BEYOND, Program, Ranges
from .rows import fits
from .stage import Cells

Picker = Callable[[int, int], Tensor]
"""From where a chain's samples begin and end: what they read of one operand."""


class LoopMachine:
    """Runs a program once, with given weights and inputs. wide: the floating type that it runs in instead of the one
    that it was traced in. judged: whether numbers that hooks make are refused where they are none, or do not fit."""

    def __init__(
        self,
        program: Program,
        frame: Frame,
        calls: Runnable,
        inputs: Mapping[str, Tensor],
        wide: torch.dtype | None = None,
        *,
        judged: bool = True,
    ) -> None:
        self.judged = judged
        self.program, self.frame, self.calls, self.wide = program, frame, calls, wide
        self.types = dict(zip(program.whole.graph.inputs, calls.types, strict=True))
        self.net, self.axes = program.net, program.axes
        self.tables: dict[str, Tensor] = {}
        self.slots: dict[str, Tensor] = {}
        self.plain: dict[str, Tensor] = {}
        self.device = frame.like.device
        for name, x in self._whole(inputs).items():
            if fits(self.net.values[name].layout, self.axes):
                form = program.form(name)
                rows = form.rows(x, form.sizes)
                self.tables[name] = torch.cat([rows.new_zeros(1, form.width), rows])
                self.slots[name] = torch.arange(1, len(rows) + 1)
            else:
                self.plain[name] = x
        for name in program.held:
            self._hold(name, self._kind(name))
        self._runs = [(chain, ranges, self._compiled(chain, ranges)) for chain, ranges in
                      ((chain, program.ranges(chain)) for chain in program.chains)]  # fmt: skip
        self._hooks = [self._taking(k) for k in range(len(program.stages))]

    def _hold(self, name: str, kind: torch.dtype) -> None:
        """Makes room for a tensor that is held."""
        held = self.program.held[name]
        self.tables[name] = torch.zeros(held.count, self.program.form(name).width, dtype=kind, device=self.device)
        self.slots[name] = held.slots

    def _kind(self, name: str, net: Propagation | None = None) -> torch.dtype:
        """The type of an operator's result: the one traced, or that of the run for what was traced in the net's own."""
        net = net or self.net
        while name not in self.calls.calls and net.graph[name].op != "input":
            name = net.graph[name].operands[0]  # a step of a view
        invocation = self.calls.calls.get(name)
        kind = self.types[name] if invocation is None else invocation.dtype
        return self.wide if self.wide is not None and kind.is_floating_point else kind

    def run(self) -> None:
        """All steps. Raises InputError where a hook returns something else than cells."""
        program, n = self.program, len(self.program.stages)
        times = sorted({time for _, ranges, _ in self._runs for time in ranges.at} | set(program.all_times))
        for time in times:
            ended: dict[str, tuple[Tensor, int]] = {}
            for chain, ranges, compute in self._runs:
                if time in ranges.at:
                    start, stop = ranges.at[time]
                    for name, rows in compute(start, stop).items():
                        if chain.stage is None:
                            at = self.slots[name][ranges.samples[start:stop]].to(self.device)
                            self.tables[name].index_copy_(0, at, rows)
                        else:
                            ended[name] = rows, start
            self._hooks[time % n](time // n, ended)

    def fed(self, name: str) -> Tensor:
        """An input, as far as it is made."""
        form = self.program.form(name)
        return form.tensor(self.tables[name][1:], form.sizes).contiguous()

    # ---- what is given ------------------------------------------------------------------------------------

    def _whole(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All that depends on nothing that is made, whole. Raises NoSlabError."""
        net, wanted = self.program.whole, set(self.program.given)
        frame, needed = replace(self.frame, net=net), set(wanted)
        for name in reversed(net.graph.order):
            if name in needed:
                needed |= {path.operand for path in net.values[name].paths}
        found: dict[str, SlabTensor] = {}
        for name in net.graph.order:
            if name in needed:
                node, region = net.graph[name], whole_region(net, name)
                if node.op == "input":
                    found[name] = SlabTensor(inputs[name], region)
                else:
                    caller = Caller(frame, node, self.calls.calls.get(name), self.axes, self._kind(name, net))
                    found[name] = SlabTensor(caller.result(region, found), region)
        return {name: found[name].tensor for name in wanted}

    # ---- chains -------------------------------------------------------------------------------------------

    def _compiled(self, chain: Chain, ranges: Ranges) -> Callable[[int, int], dict[str, Tensor]]:
        """From where samples begin and end: the chain's ends there, as rows."""
        steps = [self._step(name, chain, ranges) for name in chain.nodes]
        forms = {name: self.program.form(name) for name in chain.ends}
        ones = (1,) * (len(self.axes) - 1)

        def compute(start: int, stop: int) -> dict[str, Tensor]:
            values: dict[str, Tensor] = {}
            for step in steps:
                step(values, start, stop)
            lengths = (stop - start, *ones)
            return {name: form.rows(values[name], lengths) for name, form in forms.items()}

        return compute

    def _step(self, name: str, chain: Chain, ranges: Ranges) -> Callable[[dict[str, Tensor], int, int], None]:
        node, invocation = self.net.graph[name], self.calls.calls.get(name)
        form, ones = self.program.form(name), (1,) * (len(self.axes) - 1)
        call = Call(node, tuple(dims_of(self.net.values[operand].layout) for operand in node.operands))
        product_of = convolution(self.frame, node, invocation, self.axes, call)
        if product_of is not None and self._reads_rows(product_of.operand):
            return self._convolved(name, product_of, chain, ranges)
        if is_zero_pad(self.net, self.axes, name) and self._reads_rows(node.operands[0]):
            if node.operands[0] not in chain.nodes:
                return self._moved(name, ranges)
        if not is_pointwise(self.net, self.axes, name):
            caller = Caller(self.frame, node, invocation, self.axes, self._kind(name))
            grouped = Groups(self, caller, self.program.grouping(name, ranges))

            def by_groups(values: dict[str, Tensor], start: int, stop: int) -> None:
                values[name] = form.tensor(grouped(start, stop), (stop - start, *ones))

            return by_groups
        read = [path.operand for path in self.net.values[name].paths if path.operand not in chain.nodes]
        pickers = [(operand, self._picker(operand, ranges)) for operand in dict.fromkeys(read)]
        placed = any(placed_along(self.net, self.axes, name))
        places = unravelled(ranges.samples, form.sizes)
        quick = None if placed else prepared(self.frame, node, invocation)
        slow = on_samples(Caller(self.frame, node, invocation, self.axes, self._kind(name)))

        def pointwise(values: dict[str, Tensor], start: int, stop: int) -> None:
            seen = values
            if pickers:
                seen = {**values, **{operand: pick(start, stop) for operand, pick in pickers}}
            if quick is not None:
                values[name] = quick(seen)
                return
            at = {axis: place[start:stop] for axis, place in zip(self.axes, places, strict=True)}
            values[name] = slow(seen, stop - start, at)

        return pointwise

    def _reads_rows(self, operand: str) -> bool:
        return operand not in self.plain

    def _picker(self, operand: str, ranges: Ranges) -> Picker:
        """The same samples of an operand."""
        if operand in self.plain:
            return lambda start, stop: self.plain[operand]
        form, ones = self.program.form(operand), (1,) * (len(self.axes) - 1)
        slots = self.slots[operand][ranges.samples].to(self.device)

        def pick(start: int, stop: int) -> Tensor:
            return form.tensor(self.tables[operand].index_select(0, slots[start:stop]), (stop - start, *ones))

        return pick

    def _moved(self, name: str, ranges: Ranges) -> Callable[[dict[str, Tensor], int, int], None]:
        """Padding with zeros: each sample is one of the operand, or lies beyond the border."""
        form, ones = self.program.form(name), (1,) * (len(self.axes) - 1)
        path = self.net.values[name].paths[0]
        (numbers,) = samples_read(self.net, path, self.axes, name, ranges.samples)
        slots = torch.where(numbers == OUTSIDE, BEYOND, self.slots[path.operand][numbers]).to(self.device)

        def moved(values: dict[str, Tensor], start: int, stop: int) -> None:
            read = self.tables[path.operand].index_select(0, slots[start:stop])
            values[name] = form.tensor(read, (stop - start, *ones))

        return moved

    def _convolved(
        self, name: str, product_of: Convolution, chain: Chain, ranges: Ranges
    ) -> Callable[[dict[str, Tensor], int, int], None]:
        form, ones = self.program.form(name), (1,) * (len(self.axes) - 1)
        operand = product_of.operand
        source = self.program.form(operand)
        if operand in chain.nodes:

            def after(values: dict[str, Tensor], start: int, stop: int) -> None:
                lengths = (stop - start, *ones)
                read = source.rows(values[operand], lengths).unsqueeze(1)
                values[name] = form.tensor(product_of(read), lengths)

            return after
        places = unravelled(ranges.samples, form.sizes)
        columns = []
        for offsets in product_of.offsets:
            at = []
            for place, stride, offset, size in zip(places, product_of.strides, offsets, source.sizes, strict=True):
                moved = place * stride + offset
                at.append(torch.where((moved >= 0) & (moved < size), moved, OUTSIDE))
            columns.append(raveled(at, source.sizes))
        numbers = torch.stack(columns, 1)
        slots = torch.where(numbers == OUTSIDE, BEYOND, self.slots[operand][numbers]).to(self.device)
        taps = slots.shape[1]

        def around(values: dict[str, Tensor], start: int, stop: int) -> None:
            read = self.tables[operand].index_select(0, slots[start:stop].flatten())
            read = read.reshape(stop - start, taps, source.width)
            values[name] = form.tensor(product_of(read), (stop - start, *ones))

        return around

    # ---- stages -------------------------------------------------------------------------------------------

    def _taking(self, stage: int) -> Callable[[int, Mapping[str, tuple[Tensor, int]]], None]:
        """Hands a stage's outputs to its hook, cell by cell, and takes the cells that it makes."""
        program = self.program
        said, order = program.stages[stage], program.order.stages[stage]
        outputs = [(shown, program.outputs[shown]) for shown in said.outputs]
        fronts = order.fronts
        made = Ranges.of(torch.tensor(order.times))
        feeds = program.form(said.feeds)
        steps = program.cell_of(said.feeds)
        placed: dict[str, Tensor] = {}
        for chain, ranges, _ in self._runs:
            for end in chain.ends if chain.stage == stage else ():
                place = torch.zeros(prod(program.form(end).sizes), dtype=torch.int64)
                place[ranges.samples] = torch.arange(len(ranges.samples))
                placed[end] = place[program.cell_samples[end]]

        def take(step: int, ended: Mapping[str, tuple[Tensor, int]]) -> None:
            if step not in made.at:
                return
            start, stop = made.at[step]
            numbers = made.samples[start:stop]
            given = {}
            for shown, node in outputs:
                form = program.form(node)
                lengths = program.cell_of(node)
                if node in placed:
                    rows, begins = ended[node]
                    picked = rows[(placed[node][numbers] - begins).to(self.device)]
                else:
                    slots = self.slots[node][program.cell_samples[node][numbers]]
                    picked = self.tables[node][slots.to(self.device)]
                given[shown] = form.tensors(picked, lengths)
            table = self.tables[said.feeds]
            cells = Cells(fronts[step], given, step)
            made_here = hooked(said, cells, program.cell_shape(said.feeds), table.dtype, judged=self.judged)
            rows = feeds.rows_of_each(made_here.to(table.device), steps)
            slots = self.slots[said.feeds][program.cell_samples[said.feeds][numbers]]
            table.index_copy_(0, slots.flatten().to(self.device), rows.flatten(0, 1))

        return take
