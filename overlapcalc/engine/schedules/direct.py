"""Tensors of which a stream holds nothing from band to band: they are read, or computed anew, where they are wanted.

What is stored between passes can be read anywhere. And what follows from it sample by sample costs less to compute
twice, for the few samples that two bands share, than to hold and to join to the next band.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ...algebra.index_map import IndexMap
from ...algebra.spans import Span
from ...ops.cost import counts
from ...propagate.regions import real_reads
from ...propagate.values import Propagation
from ..slab.frame import SlabTensor


def direct_nodes(net: Propagation, axis: str, stored: frozenset[str]) -> frozenset[str]:
    """Of a net whose inputs `stored` can be read anywhere: these, and what follows from them sample by sample along
    the axis without multiplying matrices."""
    found = set(stored)
    for node in net.graph:
        if node.op == "input" or net.size(node.name, axis) is None or counts(node.op):
            continue
        paths = net.values[node.name].paths
        near = all(path.operand in found or net.size(path.operand, axis) is None for path in paths)
        along = [path.axes[axis].reads for path in paths if axis in path.axes and not path.axes[axis].carried]
        if near and along and not any(axis in p.obstructed for p in paths) and set(along) == {IndexMap.identity()}:
            found.add(node.name)
    return frozenset(found)


class Direct:
    """Direct nodes in one band after another."""

    def __init__(self, net: Propagation, axis: str, names: frozenset[str]) -> None:
        self._net, self._axis, self._names = net, axis, names
        self._several = {name for name in names if len(list(net.graph.readers(name))) > 1}
        self._made: dict[str, SlabTensor] = {}
        self.wanted: dict[str, Span] = {}

    def begin(self, fresh: Mapping[str, Span], outputs: Mapping[str, Span]) -> None:
        """The next band. fresh: what the other nodes compute in it; outputs: what leaves, by node."""
        self._made.clear()
        wanted = {name: span for name, span in outputs.items() if name in self._names}
        for name in reversed(self._net.graph.order):
            span = wanted.get(name) if name in self._names else fresh.get(name)
            if span is None:
                continue
            for path in self._net.values[name].paths:
                if path.operand in self._names:
                    read = real_reads(self._net, path.operand, path.axes.get(self._axis), self._axis, span)
                    if read is not None:
                        wanted[path.operand] = read.joined(wanted.get(path.operand))
        self.wanted = wanted

    @property
    def kept(self) -> Iterable[SlabTensor]:
        """What is kept for other readers in this band."""
        return self._made.values()

    def is_once(self, name: str) -> bool:
        """Whether a node is computed anew for everyone who reads it."""
        return name not in self._several

    def tensor(self, name: str, compute: Callable[[str, Span], SlabTensor]) -> SlabTensor:
        """A node where this band wants it. compute: how it is made there. That is not kept: who makes it holds
        this, and large tensors, which would wait for the next search for cycles of references."""
        known = self._made.get(name)
        if known is None:
            known = compute(name, self.wanted[name])
            if name in self._several:
                self._made[name] = known
        return known
