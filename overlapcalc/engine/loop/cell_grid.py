"""The cells of a loop: as many of every input that is made as of every output that a stage takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    grid, counted = Grid(net, axis), dict[str, int]()
    steps: dict[str, int] = {}
    for shown, node in nodes.items():
        if _is_free(net, grid, node, nodes.values()):
            continue
        steps[node] = grid.per_step(node)
        counted[shown] = _counted(shown, net.size(node, axis), steps[node], axis)
    first = next(iter(counted or nodes))
    count = counted.get(first, net.size(nodes[first], axis)) or 1
    for shown, own in counted.items():
        if own != count:
            raise InputError(
                f"along {axis}, {shown} has {own} cells and {first} has {count}; what is fed back must be as large as "
                "what it is fed to"
            )
    for shown, node in nodes.items():
        if node not in steps:
            size = net.size(node, axis) or 1
            if size % count:
                raise InputError(
                    f"along {axis}, {shown} has {size} samples for {count} cells of {first}; make its size a multiple"
                )
            steps[node] = size // count
    return count, steps


def _is_free(net: Propagation, grid: Grid, node: str, others: Iterable[str]) -> bool:
    """Whether an input is tied to none of the others by the net."""
    return net.graph[node].op == "input" and not any(grid.same(node, other) for other in others if other != node)


def _counted(shown: str, size: int | None, step: int, axis: str) -> int:
    if size is None or size % step:
        raise InputError(
            f"{shown} has {size} samples along {axis}, which is no whole number of cells of {step}; "
            "pad or cut the image"
        )
    return size // step
