"""How far each tensor of a stream has been computed: bands of outputs in order along one axis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..algebra.spans import Span
from .regions import extents_for, real_reads
from .values import AxisRead, Propagation


class StreamFront:
    """Where each tensor ends so far. Every sample is computed once: a tensor continues where it ended before.

    outputs: the nodes of those outputs that have the axis, by the names that are shown. extents: the part of each
    tensor that is computed. It begins where all outputs together first need it, so there are no gaps.

    With two convolutions of three taps, the first is one sample ahead, and two of its samples are still to be read:

    >>> import overlapcalc as oc
    >>> from torch import nn
    >>> two = nn.Sequential(nn.Conv1d(1, 1, 3, padding=1), nn.Conv1d(1, 1, 3, padding=1))
    >>> front = StreamFront(oc.analyze(two, (1, 1, 9)).variants.net, "L")
    >>> {name: str(span) for name, span in front.gains({"output": Span(0, 4)}).items()}
    {'input': '[0, 6)', 'conv1d': '[0, 5)', 'conv1d_1': '[0, 4)'}
    >>> str(front.unread("conv1d"))
    '[3, 5)'
    """

    def __init__(self, net: Propagation, axis: str) -> None:
        self._net, self._axis = net, axis
        sizes = {shown: net.size(node, axis) for shown, node in net.graph.outputs}
        whole = {shown: Span(0, size) for shown, size in sizes.items() if size is not None}
        self.outputs = {shown: node for shown, node in net.graph.outputs if shown in whole}
        self.extents = extents_for(net, axis, whole)
        self._done = {name: span.start for name, span in self.extents.items()}
        self._readers = {name: list(self._reading(name)) for name in self.extents}

    def band(self, outputs: Mapping[str, Span]) -> Iterator[tuple[str, Span | None]]:
        """The nodes that compute something for the next band, in order, each with the part that it computes.

        outputs: the band, by the names that are shown. None: the tensor does not have the axis; it is computed whole,
        once. A node counts as computed as soon as it is named here.
        """
        fresh = self.fresh(outputs)
        for name in self._net.graph.order:
            if self._net.size(name, self._axis) is None:
                yield name, None
            elif name in fresh:
                self._done[name] = fresh[name].stop
                yield name, fresh[name]

    def gains(self, outputs: Mapping[str, Span]) -> dict[str, Span]:
        """The same as a mapping, without the tensors that do not have the axis."""
        return {name: span for name, span in self.band(outputs) if span is not None}

    def unread(self, name: str) -> Span | None:
        """The samples of a tensor that have been computed and are still to be read; None if there are none."""
        first: int | None = None
        for reader, step in self._readers[name]:
            if self._done[reader] < self.extents[reader].stop:
                rest = Span(self._done[reader], self.extents[reader].stop)
                read = real_reads(self._net, name, step, self._axis, rest)
                if read is not None:
                    first = read.start if first is None else min(first, read.start)
        return None if first is None or first >= self._done[name] else Span(first, self._done[name])

    def fresh(self, outputs: Mapping[str, Span]) -> dict[str, Span]:
        """What each node would compute now for these outputs; nodes that have enough are not named."""
        fresh: dict[str, Span] = {}
        wanted = {self.outputs[shown]: span for shown, span in outputs.items() if shown in self.outputs}
        for name in reversed(self._net.graph.order):
            span = wanted.get(name)
            if span is None or span.stop <= self._done[name]:
                continue
            fresh[name] = Span(self._done[name], span.stop)
            for path in self._net.values[name].paths:
                read = self.extents.get(path.operand) if self._axis in path.obstructed else None
                read = read or real_reads(self._net, path.operand, path.axes.get(self._axis), self._axis, fresh[name])
                if read is not None:
                    wanted[path.operand] = read.joined(wanted.get(path.operand))
        return fresh

    def _reading(self, name: str) -> Iterator[tuple[str, AxisRead]]:
        for reader in self._net.graph.readers(name):
            for path in self._net.values[reader].paths:
                if path.operand == name and self._axis in path.axes and reader in self.extents:
                    yield reader, path.axes[self._axis]


def telling_bands(net: Propagation, axis: str, bands: Iterable[Mapping[str, Span]], least: int) -> int:
    """How many of these bands of outputs show what a stream holds: up to the last one in which some tensor gains or
    holds more than in any band before, and at least so many."""
    front = StreamFront(net, axis)

    def found() -> Iterator[Mapping[tuple[str, str], int]]:
        for outputs in bands:
            gains = {("gains", name): span.length for name, span in front.gains(outputs).items()}
            held = {name: front.unread(name) for name in front.extents}
            yield gains | {("holds", name): 0 if span is None else span.length for name, span in held.items()}

    return last_larger(found(), least)


def last_larger(bands: Iterable[Mapping[tuple[str, str], int]], least: int) -> int:
    """The last band, counted from 1, in which a number is larger than in any before; at least so many."""
    most: dict[tuple[str, str], int] = {}
    last = least
    for i, found in enumerate(bands, 1):
        if any(n > most.get(key, 0) for key, n in found.items()):
            last = max(last, i)
        most.update((key, n) for key, n in found.items() if n > most.get(key, 0))
    return last
