"""What a loop does, worked out before it runs: which samples are made when, by which chains, and where they stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from heapq import heappop, heappush
from math import prod

import torch
from torch import Tensor

from ...planning.stages import StagedOrder
from ...propagate.values import Propagation
from .cell_grid import CellGrid
from .chains import Chain, chains
from .demand import NEVER, Demand, demand, raveled, sizes_of, unravelled
from .groups import Grouping
from .rows import RowForm
from .stage import Stage

BEYOND = 0
"""The slot of zeros: what lies beyond the border, and what nobody reads."""


@dataclass(frozen=True)
class Held:
    """Where the samples of a tensor are held. slots: of each sample, BEYOND where it is never made. count: of slots,
    with that of zeros."""

    slots: Tensor
    count: int


@dataclass(frozen=True)
class Ranges:
    """Samples in the order in which they are made. at: the time -> which of them are made then."""

    samples: Tensor
    at: Mapping[int, tuple[int, int]]

    @staticmethod
    def of(made: Tensor) -> Ranges:
        """made: the time of each sample, NEVER for some."""
        order = torch.argsort(made, stable=True)
        order = order[: int((made < NEVER).sum())]
        times, counts = torch.unique_consecutive(made[order], return_counts=True)
        stops = counts.cumsum(0).tolist()
        starts = [0, *stops[:-1]]
        return Ranges(order, dict(zip(times.tolist(), zip(starts, stops, strict=True), strict=True)))


@dataclass(frozen=True)
class Program:
    """The work of a loop on images of one size in one order.

    net: the part that the loop goes through; whole: all of it. outputs: by their names, the nodes.

    A time is a step times the number of stages, plus the stage.
    """

    net: Propagation
    whole: Propagation
    grid: CellGrid
    stages: tuple[Stage, ...]
    order: StagedOrder
    outputs: Mapping[str, str]

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """What depends on an input that is fed, in order of execution, these inputs first."""
        fed = {stage.feeds for stage in self.stages}
        found = [name for name in self.net.graph.order if name in fed]
        known = set(found)
        for name in self.net.graph.order:
            if any(path.operand in known for path in self.net.values[name].paths):
                found.append(name)
                known.add(name)
        return tuple(found)

    @cached_property
    def operators(self) -> tuple[str, ...]:
        """The nodes that are no inputs."""
        return tuple(name for name in self.nodes if self.net.graph[name].op != "input")

    @cached_property
    def taken(self) -> dict[str, list[int]]:
        """Output nodes -> the stages that take them."""
        found: dict[str, list[int]] = {}
        for k, stage in enumerate(self.stages):
            for shown in stage.outputs:
                found.setdefault(self.outputs[shown], []).append(k)
        return found

    def form(self, node: str) -> RowForm:
        """How a tensor becomes rows and back."""
        return self._forms.setdefault(node, RowForm(self.net.values[node].layout, self.axes))

    _forms: dict[str, RowForm] = field(default_factory=dict, repr=False, compare=False)

    @property
    def axes(self) -> tuple[str, ...]:
        """In the order in which samples are counted."""
        return self.grid.axes

    def cell_of(self, node: str) -> tuple[int, ...]:
        """How many samples of an input that is made, or of an output, a cell has along each axis."""
        return self.grid.samples[node]

    def cell_shape(self, node: str) -> tuple[int, ...]:
        """The shape of a cell of a tensor."""
        layout = self.net.values[node].layout
        length = dict(zip(self.axes, self.cell_of(node), strict=True))
        sizes = [length.get(label, size) for label, size in zip(layout.labels, layout.sizes, strict=True)]
        return tuple(prod(sizes[i] for i in layout.places(d)) for d in range(len(layout.widths)))

    @cached_property
    def cell_samples(self) -> dict[str, Tensor]:
        """For each fed input and each output that a stage takes: the samples of every cell, (cells, samples)."""
        names = {stage.feeds for stage in self.stages} | set(self.taken)
        found = {}
        for name in names:
            steps = self.cell_of(name)
            sizes, cells = sizes_of(self.net, name, self.axes), self.order.cells
            own = unravelled(torch.arange(prod(cells)), cells)
            inside = unravelled(torch.arange(prod(steps)), steps)
            places = [c[:, None] * s + i[None, :] for c, s, i in zip(own, steps, inside, strict=True)]
            found[name] = raveled(places, sizes)
        return found

    def times(self, stage: int) -> Tensor:
        """When the stage makes each cell."""
        return torch.tensor(self.order.stages[stage].times) * len(self.stages) + stage

    @cached_property
    def all_times(self) -> tuple[int, ...]:
        """The times at which stages make cells, in order."""
        return tuple(sorted({time for k in range(len(self.stages)) for time in self.times(k).tolist()}))

    @cached_property
    def demand(self) -> Demand:
        roots: dict[str, Tensor] = {}
        for node, takers in self.taken.items():
            if node in self.operators:
                samples = self.cell_samples[node]
                wanted = torch.full((prod(sizes_of(self.net, node, self.axes)),), NEVER)
                for k in takers:
                    when = self.times(k)[:, None].expand_as(samples)
                    wanted = wanted.scatter_reduce(0, samples.flatten(), when.flatten(), "amin")
                roots[node] = wanted
        found = demand(self.net, self.axes, self.nodes, roots)
        for node, takers in self.taken.items():  # a stage that takes it later reads it then
            for k in takers if node in self.operators else ():
                samples = self.cell_samples[node]
                when = self.times(k)[:, None].expand_as(samples)
                found.read[node].scatter_reduce_(0, samples.flatten(), when.flatten(), "amax")
        return found

    @cached_property
    def chains(self) -> list[Chain]:
        return chains(self.net, self.axes, self.operators, self.demand, self.taken)

    def ranges(self, chain: Chain) -> Ranges:
        """The samples that a chain makes."""
        return Ranges.of(self.demand.made[chain.nodes[-1]])

    def grouping(self, node: str, ranges: Ranges) -> Grouping:
        """The ways in which the samples of a node are made. ranges: of its chain. Raises NoSlabError."""
        if node not in self._groupings:
            self._groupings[node] = Grouping(self, self.net.graph[node], ranges.samples)
        return self._groupings[node]

    _groupings: dict[str, Grouping] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )  # of this order

    @cached_property
    def held(self) -> dict[str, Held]:
        """For each tensor that is held: fed inputs whole, others while they are read."""
        found = {}
        for stage in self.stages:
            count = prod(sizes_of(self.net, stage.feeds, self.axes))
            found[stage.feeds] = Held(torch.arange(1, count + 1), count + 1)
        for chain in self.chains:
            for end in chain.ends if chain.stage is None else ():
                found[end] = allotted(self.demand.made[end], self.demand.read[end])
        inside = {name for chain in self.chains for name in chain.nodes}
        for name in inside:
            for path in self.net.values[name].paths:
                operand = path.operand
                if operand in self.nodes and operand not in inside and operand not in found:  # none of it is read
                    found[operand] = Held(torch.zeros_like(self.demand.made[operand]), BEYOND + 1)
        return found

    @cached_property
    def given(self) -> tuple[str, ...]:
        """What is read but depends on nothing that is fed: made whole, before the first step."""
        known = set(self.nodes)
        read = {
            path.operand
            for chain in self.chains
            for name in chain.nodes
            for path in self.net.values[name].paths
            if path.operand not in known
        }
        read |= {node for node in self.taken if node not in known}
        return tuple(name for name in self.net.graph.order if name in read)


def allotted(made: Tensor, read: Tensor) -> Held:
    """Slots for samples from when they are made until they are read for the last time, used again after that."""
    slots, free, count = torch.zeros_like(made), list[int](), BEYOND + 1
    busy: list[tuple[int, int]] = []
    for sample, time, last in _in_order(made, read):
        while busy and busy[0][0] < time:
            _, slot = heappop(busy)
            free.append(slot)
        if not free:
            free.append(count)
            count += 1
        slot = free.pop()
        slots[sample] = slot
        heappush(busy, (last, slot))
    return Held(slots, count)


def _in_order(made: Tensor, read: Tensor) -> Iterator[tuple[int, int, int]]:
    samples = Ranges.of(made).samples
    yield from zip(samples.tolist(), made[samples].tolist(), read[samples].tolist(), strict=True)
