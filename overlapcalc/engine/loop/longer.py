"""The order of a loop where its cones do not give one: hidden samples are made with all their channels.

A cone follows channels apart: an output may need half of a hidden sample whose other half reads what is not made yet.
The loop makes hidden samples whole. So here cells wait for all that the hidden samples before them read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import torch
from torch import Tensor

from ...planning.stages import WAVEFRONT, StagedOrder
from ...planning.wavefront import Order
from .demand import OUTSIDE, samples_read, sizes_of
from .program import Program

NOTHING = -1
"""The time of what reads nothing that is made."""


def longer_order(program: Program) -> StagedOrder | None:
    """The order of fewest steps in which whole hidden samples can be made; None where cells wait for each other.

    Times grow until no cell reads a later one, from those of cells that wait for nothing: the longest way to each.
    """
    read = {name: _reads(program, name) for name in program.operators}
    stages, count = program.stages, prod(program.order.cells)
    times = [torch.zeros(count, dtype=torch.int64) for _ in stages]
    for _ in range(count * len(stages) + 1):
        before = [own.clone() for own in times]
        for k, stage in enumerate(stages):
            fed = {}
            for source, other in enumerate(stages):
                samples = program.cell_samples[other.feeds]
                fed[other.feeds] = torch.zeros(samples.numel(), dtype=torch.int64)
                made = times[source] + (source >= k)
                fed[other.feeds][samples.flatten()] = made[:, None].expand_as(samples).flatten()
            reached = _reached(program, read, fed)
            for shown in stage.outputs:
                node = program.outputs[shown]
                if node in reached:
                    times[k] = torch.maximum(times[k], reached[node][program.cell_samples[node]].amax(1))
        if all(torch.equal(a, b) for a, b in zip(before, times, strict=True)):
            found = tuple(Order(program.order.cells, tuple(own.tolist())) for own in times)
            return StagedOrder(WAVEFRONT, program.order.cells, found)
        if max(int(own.max()) for own in times) > count * len(stages):
            return None
    return None


def _reads(program: Program, node: str) -> list[tuple[str, list[Tensor]]]:
    """What every sample of a node reads, operand by operand."""
    net, axes = program.net, program.axes
    every = torch.arange(prod(sizes_of(net, node, axes)))
    known = set(program.nodes)
    return [
        (path.operand, list(samples_read(net, path, axes, node, every)))
        for path in net.values[node].paths
        if path.operand in known
    ]


def _reached(
    program: Program, read: Mapping[str, Sequence[tuple[str, list[Tensor]]]], fed: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """For every sample, the latest time of what it reads."""
    found = dict(fed)
    for name in program.operators:
        latest = torch.full((prod(sizes_of(program.net, name, program.axes)),), NOTHING)
        for operand, columns in read[name]:
            for samples in columns:
                inside = samples != OUTSIDE
                latest = torch.maximum(latest, torch.where(inside, found[operand][samples.clamp(min=0)], NOTHING))
        found[name] = latest
    return found
