"""The cells of a loop: as many of every input that is made as of every output that a stage takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...errors import InputError
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


def cell_grid(net: Propagation, axes: tuple[str, ...], fed: Sequence[str], outputs: Mapping[str, str]) -> CellGrid:
    """The cells of the part of a net that a loop goes through: steps of its joint grid.

    fed: the inputs that are made. outputs: by name, their nodes. What the net does not tie to the others has as many
    cells. Raises InputError where there are no cells of all.
    """
    if not axes:
        raise InputError(f"{fed[0]} has no axis of more than one sample, so there are no cells")
    nodes = {**dict(zip(fed, fed, strict=True)), **outputs}
    for shown, node in nodes.items():
        if len(sizes_of(net, node, axes)) < len(axes):
            raise InputError(f"{shown} has no {', '.join(axes)}; cells must lie along the same axes")
    along = [_along(net, axis, nodes) for axis in axes]
    cells = tuple(count for count, _ in along)
    return CellGrid(axes, cells, {node: tuple(steps[node] for _, steps in along) for node in nodes.values()})


def _along(net: Propagation, axis: str, nodes: Mapping[str, str]) -> tuple[int, dict[str, int]]:
    """How many cells there are along an axis, and how many samples of each node a cell has."""
    grid, counted, free = Grid(net, axis), dict[str, int](), list[str]()
    steps: dict[str, int] = {}
    for shown, node in nodes.items():
        size = net.size(node, axis)
        assert size is not None
        if net.graph[node].op == "input" and not any(
            grid.same(node, other) for other in nodes.values() if other != node
        ):
            free.append(shown)
            continue
        steps[node] = grid.per_step(node)
        if size % steps[node]:
            raise InputError(
                f"{shown} has {size} samples along {axis}, which is no whole number of cells of {steps[node]}; "
                "pad or cut the image"
            )
        counted[shown] = size // steps[node]
    first, count = next(iter(counted.items()), (free[0] if free else "", net.size(nodes[free[0]], axis) if free else 0))
    assert count is not None
    for shown, own in counted.items():
        if own != count:
            raise InputError(
                f"along {axis}, {shown} has {own} cells and {first} has {count}; what is fed back must be as large as "
                "what it is fed to"
            )
    for shown in free:
        size = net.size(nodes[shown], axis)
        assert size is not None
        if size % count:
            raise InputError(
                f"{shown} has {size} samples along {axis}, which is no whole number for each of {count} cells"
            )
        steps[nodes[shown]] = size // count
    return count, steps
