"""What the blocks of an image need of every tensor, many blocks at a time."""

from __future__ import annotations

from functools import lru_cache, partial

from ..algebra.spans import Span, Spans
from ..propagate.backward import BackwardReads, interior, live_paths, sized
from ..propagate.grid import Grid
from ..propagate.values import Propagation


class Needs:
    """What blocks of a net's outputs need along an axis. Far from the borders all blocks of one length need the same,
    so many steps later: that is worked out once."""

    def __init__(self, net: Propagation, axis: str, grid: Grid) -> None:
        self._net, self._axis, self._grid = net, axis, grid
        self._inside = lru_cache(maxsize=None)(self._far_inside)
        self._live = lru_cache(maxsize=None)(partial(live_paths, net, axis=axis))
        self._carries = any(axis in path.states for value in net.values.values() for path in value.paths)

    def of(self, node: str, span: Span, step: int) -> BackwardReads:
        """What samples of an output need; step: the one at which they begin, where they begin at one."""
        if span.start == step * self._grid.per_step(node):
            inside = self._inside(node, span.length)
            if inside is not None:
                moved = inside.moved(lambda name: step * self._grid.per_step(name))
                if all(s.start >= 0 and s.stop <= self._size(name) for name, s in moved.exist.items()):
                    return moved
        return sized(self._net, node, self._axis, Spans.span(*span), self._live(node))

    def _far_inside(self, node: str, length: int) -> BackwardReads | None:
        """What the first samples of an output would need if the image went on before them; None where what a block
        needs does not move with it."""
        if self._carries:
            return None
        found = interior(self._net, node, self._axis, Spans.span(0, length), self._live(node))
        return found if all(self._grid.same(name, node) for name in found.exist) else None

    def _size(self, node: str) -> int:
        return self._net.size(node, self._axis) or 0
