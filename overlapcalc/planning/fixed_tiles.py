"""Tiles of one length, for engines that need one shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from ..algebra.spans import Spans
from ..errors import Argument, InputError
from ..propagate.backward import interior
from .strips import BlockSpan, Cutter, Strip


def fixed(cutter: Cutter, tile: int) -> Strip:
    """Blocks whose tiles are all `tile` samples of the finest input long; those at the border are moved inward.

    Every tile starts on the grid, so its length must be congruent to the image's modulo the step. Raises InputError
    with the nearest lengths that work.
    """
    step, size = cutter.step, cutter.net.size(cutter.finest_input, cutter.axis)
    assert size is not None
    lost, rest = divmod(size - tile, step)
    if tile <= size and not rest:
        slots = _tiled(cutter, lost)
        if slots is not None:
            return Strip(
                cutter.axis, max(s.length for slot in slots for s in slot.outputs.values()), cutter.like, slots
            )
    why = _why(tile, size, step, _works(cutter, size // step))
    raise InputError(
        f"no tiles of {tile} along {cutter.axis}: {why}; for one tile for images of every size see ",
        Argument("pad_to_fit"),
    )


def refuse_short(cutter: Cutter, tile: int) -> None:
    """Raises InputError where tiles of this length are too short for a block amid an image, however large that is.

    cutter: at a size that is congruent to the tile's.
    """
    finest = max(cutter.inputs, key=cutter.grid.per_step)
    step, size = cutter.grid.per_step(finest), cutter.net.size(finest, cutter.axis)
    assert size is not None
    befores, ends = [], []
    for node in cutter.outputs.values():
        found = interior(cutter.net, node, cutter.axis, Spans.span(0, cutter.grid.per_step(node)))
        before, end = cutter.grid.interior(found, node)
        befores.append(before)
        ends.append(end)
    shortest = size - (min(ends) - 1 - max(befores)) * step
    if tile < shortest:
        longer = f"{shortest}, {shortest + step}, {shortest + 2 * step} and so on work"
        raise InputError(
            f"no tiles of {tile} along {cutter.axis}: too short for any block with its context; {longer}, and for "
            "images of every size: which lengths do depends on the net alone"
        )


def _works(cutter: Cutter, most: int) -> int:
    """The most steps by which equal tiles may be shorter than the image. Longer tiles work where shorter ones do."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _tiled(cutter, middle) is not None else (low, middle - 1)
    return low


def _why(tile: int, size: int, step: int, most: int) -> str:
    shortest = size - most * step
    if tile > size:
        return f"the image has {size}; the longest tile is the image itself, the shortest that works {shortest}"
    near = sorted(
        {max(shortest, size - -(-(size - tile) // step) * step), max(shortest, size - (size - tile) // step * step)}
    )
    listed = " and ".join(map(str, near))
    if tile < shortest:
        return f"it is too short for any block with its context; the shortest that works is {shortest}"
    return f"its length must be that of the image ({size}) modulo {step}; the nearest that work are {listed}"


def _tiled(cutter: Cutter, lost: int) -> tuple[BlockSpan, ...] | None:
    """Blocks from the start on, each as long as its tile allows, all tiles `lost` steps shorter than the image."""
    slots: list[BlockSpan] = []
    start = 0
    while start < cutter.steps:
        first, last = cutter.cut(start, start + 1)
        first = min(first, lost)
        if lost - first > last:
            return None
        stop = _furthest(partial(cutter.cut, start), start + 1, cutter.steps, first, lost - first)
        slots.append(cutter.slot(start, stop, first, lost - first))
        start = stop
    return tuple(slots)


def _furthest(cut: Callable[[int], Sequence[int]], low: int, high: int, first: int, last: int) -> int:
    """The furthest stop for which a tile may still leave out `first` and `last` steps."""
    while low < high:
        middle = (low + high + 1) // 2
        may = cut(middle)
        low, high = (middle, high) if may[0] >= first and may[1] >= last else (low, middle - 1)
    return low
