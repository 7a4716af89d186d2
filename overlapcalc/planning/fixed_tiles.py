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
    shortest = size - _works(cutter, size // step) * step
    raise InputError(
        f"no tiles of {tile} along {cutter.axis}: {_why(tile, size, step, shortest)}; "
        f"{lengths_text(tile, shortest, step, size)}; for one tile for images of every size see ",
        Argument("pad_to_fit"),
    )


def refuse_unfit(cutter: Cutter, tile: int) -> None:
    """Raises InputError, with the lengths that work, where tiles of this length are too short for a block amid an
    image, however large that is, or where the net does not run on them.

    cutter: at a size at which it runs, congruent to the tile's if it runs on that.
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
    if tile < shortest or (tile - shortest) % step:
        why = SHORT if tile < shortest else "the net does not run on so many samples"
        raise InputError(f"no tiles of {tile} along {cutter.axis}: {why}; {lengths_text(tile, shortest, step)}")


def _works(cutter: Cutter, most: int) -> int:
    """The most steps by which equal tiles may be shorter than the image. Longer tiles work where shorter ones do."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _tiled(cutter, middle) is not None else (low, middle - 1)
    return low


def _why(tile: int, size: int, step: int, shortest: int) -> str:
    if tile > size:
        return f"the image has {size}"
    if tile < shortest:
        return SHORT
    return f"its length must be that of the image ({size}) modulo {step}"


SHORT = "too short for any block with its context"


def lengths_text(tile: int, shortest: int, step: int, longest: int | None = None) -> str:
    """The lengths that work, and which are nearest to one that does not. longest: None for no end.

    >>> lengths_text(50, 12, 4, 96)
    '48 and 52 are the nearest that work, of 12, 16, 20 and so on up to 96'
    >>> lengths_text(8, 12, 4)
    '12 is the nearest that works, of 12, 16, 20 and so on, for images of every size'
    """
    before = max(shortest, tile - (tile - shortest) % step)
    after = max(shortest, tile + (shortest - tile) % step)
    near = sorted({n if longest is None else min(n, longest) for n in (before, after)})
    first = [shortest + k * step for k in range(3) if longest is None or shortest + k * step <= longest]
    end = "" if longest is None or first[-1] == longest else f" up to {longest}"
    every = ", ".join(map(str, first)) + (f" and so on{end}" if longest is None or end else "")
    said = f"{' and '.join(map(str, near))} {'is' if len(near) == 1 else 'are'} the nearest that work"
    images = ", for images of every size" if longest is None else ""
    return f"{said}{'s' if len(near) == 1 else ''}, of {every}{images}"


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
