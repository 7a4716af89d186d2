"""Which part of every tensor a region of the outputs needs, when each operator computes one span per axis.

What is read (backward.py) is a set of samples; what is computed is a span. So hulls go backward here, from what is
computed to what that needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..algebra.spans import Span, Spans
from .values import Propagation, Step

Extents = dict[str, Span]
"""Node -> its part along one axis. What is not named is not needed."""


def extents_for(net: Propagation, axis: str, outputs: Mapping[str, Span]) -> Extents:
    """What every tensor must hold along an axis so that these outputs, by the names that are shown, can be given."""
    nodes = dict(net.graph.outputs)
    wanted: Extents = {nodes[shown]: span for shown, span in outputs.items()}
    for name in reversed(net.graph.order):
        span = wanted.get(name)
        if span is None:
            continue
        for path in net.values[name].paths:
            read = real_reads(net, path.operand, path.steps.get(axis), axis, span)
            if axis in path.blocked:
                size = net.size(path.operand, axis)
                read = None if size is None else Span(0, size)
            if read is not None:
                wanted[path.operand] = joined(wanted.get(path.operand), read)
    return wanted


def real_reads(net: Propagation, operand: str, step: Step | None, axis: str, span: Span) -> Span | None:
    """The hull of the samples of an operand that a span reads, with borders folded back into the image."""
    size = net.size(operand, axis)
    if step is None or size is None:
        return None
    raw = step.reads.reads(*span)
    return None if raw is None else step.border.fold(Spans.span(*raw), size)[0].hull


def joined(a: Span | None, b: Span) -> Span:
    return b if a is None else Span(min(a.start, b.start), max(a.stop, b.stop))


class Stream:
    """Bands in order along one axis: every tensor is computed once, from where it ended before.

    outputs: the nodes of those outputs that have the axis, by the names that are shown. A tensor begins where all of
    them together need it first, so there are no gaps.
    """

    def __init__(self, net: Propagation, axis: str) -> None:
        self.net, self.axis = net, axis
        sizes = {shown: net.size(node, axis) for shown, node in net.graph.outputs}
        self.outputs = {shown: node for shown, node in net.graph.outputs if sizes[shown] is not None}
        self.all = extents_for(net, axis, {shown: Span(0, sizes[shown] or 1) for shown in self.outputs})
        self.done = {name: span.start for name, span in self.all.items()}
        self._readers = {name: list(self._reading(name)) for name in self.all}

    def next(self, outputs: Mapping[str, Span]) -> Extents:
        """What every node computes now so that these outputs can be given; nodes that have enough are not named."""
        fresh: Extents = {}
        wanted = {self.outputs[shown]: span for shown, span in outputs.items() if shown in self.outputs}
        for name in reversed(self.net.graph.order):
            span = wanted.get(name)
            if span is None or span.stop <= self.done[name]:
                continue
            fresh[name] = Span(self.done[name], span.stop)
            for path in self.net.values[name].paths:
                read = self.all.get(path.operand) if self.axis in path.blocked else None
                read = read or real_reads(self.net, path.operand, path.steps.get(self.axis), self.axis, fresh[name])
                if read is not None:
                    wanted[path.operand] = joined(wanted.get(path.operand), read)
        return fresh

    def kept_from(self, name: str) -> int | None:
        """The first sample of a tensor that is still to be read; None for none. `done` says how far readers are."""
        first: int | None = None
        for reader, step in self._readers[name]:
            if self.done[reader] < self.all[reader].stop:
                rest = Span(self.done[reader], self.all[reader].stop)
                read = real_reads(self.net, name, step, self.axis, rest)
                if read is not None:
                    first = read.start if first is None else min(first, read.start)
        return first

    def _reading(self, name: str) -> Iterator[tuple[str, Step]]:
        for reader in self.net.graph.readers(name):
            for path in self.net.values[reader].paths:
                if path.operand == name and self.axis in path.steps and reader in self.all:
                    yield reader, path.steps[self.axis]
