"""Which part of every tensor is needed at one size, where that may be several spans: the two ends of a circular image.

As regions.py and stream_front.py have it for one span each. A part is a set of spans with no small gaps; what a
call computes is one of them, and its operator reads a hull unless it picks samples one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..algebra.spans import EMPTY, Span, Spans
from .stream_front import last_larger
from .values import AxisRead, Propagation

GAP = 32
"""Gaps of at most this many samples are computed too: fewer calls are worth more."""

Parts = dict[str, Spans]
"""Node -> its part along one axis. What is not named is not needed."""


def parts_for(net: Propagation, axis: str, outputs: Mapping[str, Spans]) -> Parts:
    """What every tensor must hold along an axis so that these outputs, by the names that are shown, can be given."""
    nodes = dict(net.graph.outputs)
    wanted: Parts = {nodes[shown]: spans for shown, spans in outputs.items()}
    for name in reversed(net.graph.order):
        if name not in wanted:
            continue
        wanted[name] = wanted[name].bridged(GAP)
        for path in net.values[name].paths:
            size = net.size(path.operand, axis)
            if axis in path.obstructed and size is not None:
                wanted[path.operand] = Spans.span(0, size)
            elif axis in path.axes and size is not None:
                wanted[path.operand] = wanted.get(path.operand, EMPTY) | read(path.axes[axis], size, wanted[name])
    return {name: spans for name, spans in wanted.items() if spans}


def read(along: AxisRead, size: int, outputs: Spans) -> Spans:
    """What calls for these parts read of an operand."""
    found = EMPTY
    for a, b in outputs.parts:
        raw = along.reads.over(Spans.span(a, b))
        found |= along.border.fold(raw if along.picks else raw.filled(), size)[0]
    return found


class SplitFront:
    """Where a stream has got to, as StreamFront says, for parts of several spans. Every sample is computed once.

    Of a circular convolution, the first band needs the image's last sample, and its first sample is kept to the end:

    >>> import overlapcalc as oc
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular"), nn.ReLU())
    >>> front = SplitFront(oc.analyze(net, (1, 1, 99)).variants.here.net, "L")
    >>> {name: spans.parts for name, spans in front.gains({"output": Spans.span(0, 4)}).items() if name == "input"}
    {'input': ((0, 5), (98, 99))}
    """

    def __init__(self, net: Propagation, axis: str) -> None:
        self._net, self._axis = net, axis
        sizes = {shown: net.size(node, axis) for shown, node in net.graph.outputs}
        whole = {shown: Spans.span(0, size) for shown, size in sizes.items() if size is not None}
        self.outputs = {shown: node for shown, node in net.graph.outputs if shown in whole}
        self.extents = parts_for(net, axis, whole)
        self.done: Parts = dict.fromkeys(self.extents, EMPTY)

    def band(self, outputs: Mapping[str, Spans]) -> Iterator[tuple[str, Spans | None]]:
        """The nodes that compute something for the next band, in order, each with the part that it computes. None: the
        tensor does not have the axis. A node counts as computed as soon as it is named here."""
        fresh = self._fresh(outputs)
        for name in self._net.graph.order:
            if self._net.size(name, self._axis) is None:
                yield name, None
            elif name in fresh:
                self.done[name] |= fresh[name]
                yield name, fresh[name]

    def gains(self, outputs: Mapping[str, Spans]) -> Parts:
        return {name: spans for name, spans in self.band(outputs) if spans is not None}

    def unread(self, name: str) -> Spans:
        """The samples of a tensor that have been computed and are still to be read."""
        found, size = EMPTY, self._net.size(name, self._axis)
        assert size is not None
        for reader in self._net.graph.readers(name):
            rest = self.extents.get(reader, EMPTY).minus(self.done.get(reader, EMPTY))
            for path in self._net.values[reader].paths:
                if rest and path.operand == name and self._axis in path.axes:
                    found |= read(path.axes[self._axis], size, rest)
                elif rest and path.operand == name and self._axis in path.obstructed:
                    found = Spans.span(0, size)
        return found.common(self.done[name])

    def _fresh(self, outputs: Mapping[str, Spans]) -> Parts:
        fresh: Parts = {}
        wanted: Parts = {self.outputs[shown]: spans for shown, spans in outputs.items()}
        for name in reversed(self._net.graph.order):
            if name not in wanted or name not in self.extents:
                continue
            part = wanted[name].bridged(GAP).common(self.extents[name]).minus(self.done[name])
            if not part:
                continue
            fresh[name] = part
            for path in self._net.values[name].paths:
                size = self._net.size(path.operand, self._axis)
                if size is None:
                    continue
                if self._axis in path.obstructed:
                    wanted[path.operand] = Spans.span(0, size)
                elif self._axis in path.axes:
                    more = read(path.axes[self._axis], size, part)
                    wanted[path.operand] = wanted.get(path.operand, EMPTY) | more
        return fresh


def split_telling_bands(net: Propagation, axis: str, bands: Iterable[Mapping[str, Span]], least: int) -> int:
    """As `telling_bands`, for parts of several spans."""
    front = SplitFront(net, axis)

    def found() -> Iterator[Mapping[tuple[str, str], int]]:
        for outputs in bands:
            part = {shown: Spans.span(*span) for shown, span in outputs.items() if shown in front.outputs}
            sizes = {("gains", name): _length(spans) for name, spans in front.gains(part).items()}
            yield sizes | {("holds", name): _length(front.unread(name)) for name in front.extents}

    return last_larger(found(), least)


def _length(spans: Spans) -> int:
    return sum(b - a for a, b in spans.parts)
