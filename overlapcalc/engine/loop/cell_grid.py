"""The cells of a loop: as many of every input that is made as of every output that a stage takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...errors import InputError
from ...planning.wavefront import text_of
from ...propagate.grid import Grid
from ...propagate.values import Propagation
from .demand import sizes_of


@dataclass(frozen=True)
class CellGrid:
    """axes: in the order in which cells are counted. cells: how many there are along each. samples: for each input and
    output, by its node, the samples of a cell along each axis."""

    axes: tuple[str, ...]
    cells: tuple[int, ...]
    samples: Mapping[str, tuple[int, ...]]


def cell_grid(
    net: Propagation, axes: tuple[str, ...], fed: Sequence[str], outputs: Mapping[str, str], read: Iterable[str]
) -> CellGrid:
    """The cells of the part of a net that a loop goes through: steps of its joint grid.

    fed: the inputs that are made. outputs: by name, their nodes. read: the fed inputs that outputs read; what is not
    tied to these by the net has as many cells. Raises InputError where there are no cells of all.
    """
    first = next((name for name in fed if name in set(read)), fed[0])
    counted = dict.fromkeys(axes, 0)
    samples: dict[str, tuple[int, ...]] = {}
    for shown, node in {first: first, **dict(zip(fed, fed, strict=True)), **outputs}.items():
        sizes = sizes_of(net, node, axes)
        if len(sizes) < len(axes):
            raise InputError(f"{shown} has no {', '.join(axes)}; cells must lie along the same axes")
        steps = []
        for axis, size in zip(axes, sizes, strict=True):
            grid = Grid(net, axis)
            if grid.same(node, first):
                step = grid.per_step(node)
            elif net.graph[node].op == "input":  # nothing ties it: it has the cells that the others have
                step = max(1, size // counted[axis])
            else:
                raise InputError(
                    f"{shown} and {first} do not move together along {axis}, so there are no cells of both"
                )
            if size % step:
                raise InputError(
                    f"{shown} has {size} samples along {axis}, which is no whole number of cells of {step}; "
                    "pad or cut the image"
                )
            counted[axis] = counted[axis] or size // step
            steps.append(step)
        cells = tuple(size // step for size, step in zip(sizes, steps, strict=True))
        if cells != tuple(counted.values()):
            raise InputError(
                f"{shown} has {text_of(cells)} cells, {first} has {text_of(tuple(counted.values()))}; what is fed back "
                "must be as large as what it is fed to"
            )
        samples[node] = tuple(steps)
    return CellGrid(axes, tuple(counted.values()), samples)
