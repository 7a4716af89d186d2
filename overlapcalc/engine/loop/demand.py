"""When each sample of each tensor is made in a loop, and when it is read for the last time.

Times are followed backward through the graph, for all samples at once: a sample is made when the first one that reads
it is. That is as late as it can be, and the earliest at which all that it reads itself is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import torch
from torch import Tensor

from ...algebra.spans import Spans
from ...propagate.values import AxisRead, Path, Propagation

NEVER = torch.iinfo(torch.int64).max
"""The time of a sample that nobody reads."""
OUTSIDE = -1
"""In place of the number of a sample: beyond the border, where nothing is read."""


@dataclass(frozen=True)
class Demand:
    """Per node, one entry for each sample, in row-major order of the axes. made: when it is first needed; read: when
    last."""

    made: Mapping[str, Tensor]
    read: Mapping[str, Tensor]


def demand(net: Propagation, axes: Sequence[str], nodes: Iterable[str], roots: Mapping[str, Tensor]) -> Demand:
    """nodes: those of the loop, inputs included, in order of execution. roots: when samples of outputs are wanted."""
    known = list(nodes)
    made = {name: torch.full((prod(sizes_of(net, name, axes)),), NEVER) for name in known}
    read = {name: torch.full((prod(sizes_of(net, name, axes)),), -1) for name in known}
    for name, times in roots.items():
        made[name] = torch.minimum(made[name], times)
        read[name] = torch.maximum(read[name], torch.where(times == NEVER, -1, times))
    for name in reversed(known):
        needed = (made[name] < NEVER).nonzero().flatten()
        if not len(needed):
            continue
        times = made[name][needed]
        for path in net.values[name].paths:
            if path.operand not in made:
                continue
            for samples in samples_read(net, path, axes, name, needed):
                inside = samples != OUTSIDE
                at, when = samples[inside], times[inside]
                made[path.operand].scatter_reduce_(0, at, when, "amin")
                read[path.operand].scatter_reduce_(0, at, when, "amax")
    return Demand(made, read)


def sizes_of(net: Propagation, node: str, axes: Sequence[str]) -> tuple[int, ...]:
    found = [net.size(node, axis) for axis in axes]
    return tuple(n for n in found if n is not None)


def samples_read(net: Propagation, path: Path, axes: Sequence[str], node: str, outs: Tensor) -> Iterator[Tensor]:
    """For each thing that a path reads at a time: the operand's sample for each of these outputs, or OUTSIDE."""
    places = unravelled(outs, sizes_of(net, node, axes))
    sizes = sizes_of(net, path.operand, axes)
    columns = []
    for axis, place, size, out in zip(axes, places, sizes, sizes_of(net, node, axes), strict=True):
        table = reads_table(path.axes[axis], out, size)
        columns.append([table[place, k] for k in range(table.shape[1])])
    for chosen in product(*columns):
        yield raveled(chosen, sizes)


def raveled(places: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """Places along each axis as numbers of samples; OUTSIDE where any of them is."""
    number, outside = torch.zeros_like(places[0]), torch.zeros_like(places[0], dtype=torch.bool)
    for place, size in zip(places, sizes, strict=True):
        number = number * size + place
        outside = outside | (place == OUTSIDE)
    return torch.where(outside, OUTSIDE, number)


def unravelled(numbers: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    found = []
    for size in reversed(sizes):
        found.append(numbers % size)
        numbers = numbers // size
    return found[::-1]


def reads_table(along: AxisRead, outs: int, size: int) -> Tensor:
    """Which samples each output along an axis reads, padded with OUTSIDE: (outs, most), with borders folded back."""
    rows = [list(along.border.fold(along.reads.over(Spans.span(o, o + 1)), size)[0].indices()) for o in range(outs)]
    most = max(map(len, rows), default=0)
    return torch.tensor([row + [OUTSIDE] * (most - len(row)) for row in rows], dtype=torch.int64).reshape(outs, most)
