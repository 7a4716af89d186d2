"""When each node of a staged net is computed: as late as that takes less storage."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from ...propagate.staged import Staged


def ordered(net: Staged) -> dict[str, int]:
    """Node -> the pass in which it is computed, never before its stage.

    A tensor that only later passes read is computed with its first reader instead, if what it is made of takes no more
    storage until then. Nothing is computed twice.
    """
    order = _Order(net)
    moved = True
    while moved:
        moved = False
        for name in reversed(net.net.graph.order):
            moved = order.moves(name) or moved
    return order.passes


class _Order:
    def __init__(self, net: Staged) -> None:
        self._net, self._graph = net, net.net.graph
        self.passes = dict(net.stages)
        self._ends = {node for _, node in self._graph.outputs}
        self._takers: dict[str, list[int]] = {}
        for barrier in net.barriers.values():
            for operand in barrier.node.operands:
                self._takers.setdefault(operand, []).append(barrier.stage - 1)
        for alias, of in net.whole.items():
            self._takers.setdefault(of, []).append(net.stages[alias] - 1)
        for alias, of in net.stored.items():
            self._takers.setdefault(of, []).append(net.stages[alias] - 1)

    def moves(self, name: str) -> bool:
        """Compute a node later, if that pays. Returns whether it did."""
        node = self._graph[name]
        if node.op == "input" or name in self._ends or not self._big(name):
            return False
        read = list(self._read_in(name))
        first = min(read, default=self.passes[name])
        if first <= self.passes[name]:
            return False
        fresh = {o for o in node.operands if self._big(o) and not self._is_there(o, first, name)}
        if sum(map(self._samples, fresh)) > self._samples(name):
            return False
        self.passes[name] = first
        return True

    def _read_in(self, name: str) -> Iterator[int]:
        """The passes in which a tensor is read."""
        yield from (self.passes[reader] for reader in self._graph.readers(name))
        yield from self._takers.get(name, ())

    def _is_there(self, operand: str, when: int, other_than: str) -> bool:
        """Whether a tensor is stored until a pass anyway."""
        if operand in self._graph.inputs:
            return True
        readers = [self.passes[reader] for reader in self._graph.readers(operand) if reader != other_than]
        return max([*readers, *self._takers.get(operand, ())], default=0) >= when

    def _big(self, name: str) -> bool:
        return self._net.net.size(name, self._net.axis) is not None

    def _samples(self, name: str) -> int:
        return prod(self._net.net.values[name].layout.sizes)
