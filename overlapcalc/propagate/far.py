"""What a net reads far along an axis: mirrored, moved round the end, from both ends at once.

A stream that goes from one end to the other would hold such a tensor nearly whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..algebra.spans import Span, Spans
from .regions import real_reads
from .split import SplitFront
from .values import AxisRead, Propagation

BLOCKS = 64
"""An axis is looked at in so many blocks."""
LEAST = 64
"""So many samples are never far. Parts that a stream holds are as long, where gaps are bridged."""


@dataclass(frozen=True)
class FarRead:
    """A node that reads an operand far. wide: even what a short band reads is far apart."""

    node: str
    operand: str
    wide: bool


def far_reads(net: Propagation, axis: str) -> Iterator[FarRead]:
    """All of a net at one size."""
    for name, value in net.values.items():
        for path in value.paths:
            along = path.axes.get(axis)
            if along is None or axis in path.obstructed:
                continue
            size, out = net.size(path.operand, axis), net.size(name, axis)
            if size is None or out is None or size <= LEAST:
                continue
            read = list(_ends(along, out) if along.reads.period < out else _blocks(net, path.operand, along, axis, out))
            most = max(size // 4, LEAST)
            wide = max((span.length for _, span in read), default=0) > most + size // BLOCKS
            if wide or _lag([span for _, span in read], size) > most or _strays(read, size, out, most):
                yield FarRead(name, path.operand, wide)


def scans(net: Propagation, axis: str) -> bool:
    """Whether an operator carries a state along the axis, so that bands must come in order."""
    every = (path.axes.get(axis) for value in net.values.values() for path in value.paths)
    return any(along is not None and along.carried for along in every)


def held_far(net: Propagation, axis: str) -> Iterator[str]:
    """The nodes that read a tensor of this net far, where a stream would hold it nearly whole."""
    far = [read.node for read in far_reads(net, axis) if read.operand not in net.graph.inputs]
    if far and (scans(net, axis) or _holds_far(net, axis)):
        yield from far


def _holds_far(net: Propagation, axis: str) -> bool:
    """Whether a stream by parts of several spans holds more than a quarter of a tensor that it computes."""
    front = SplitFront(net, axis)
    sizes = {shown: net.size(node, axis) or 0 for shown, node in front.outputs.items()}
    computed = {name: net.size(name, axis) or 0 for name in front.extents if net.graph[name].op != "input"}
    for i in range(BLOCKS):
        band = {shown: Spans.span(n * i // BLOCKS, n * (i + 1) // BLOCKS) for shown, n in sizes.items()}
        front.gains({shown: spans for shown, spans in band.items() if spans})
        for name, size in computed.items():
            held = sum(b - a for a, b in front.unread(name).parts)
            if held > max(LEAST, size // 4):
                return True
    return False


def _ends(along: AxisRead, out: int) -> Iterator[tuple[Span, Span]]:
    """The first and the last period of the output, and what they read, beyond the image too: between them it goes on
    evenly."""
    for start in dict.fromkeys((0, out - along.reads.period)):
        block = Span(start, start + along.reads.period)
        read = along.reads.reads(*block)
        if read is not None:
            yield block, read


def _blocks(net: Propagation, operand: str, along: AxisRead, axis: str, out: int) -> Iterator[tuple[Span, Span]]:
    """Blocks of the output, and the hulls of what they read."""
    step = max(1, -(-out // BLOCKS))
    for start in range(0, out, step):
        block = Span(start, min(start + step, out))
        read = real_reads(net, operand, along, axis, block)
        if read is not None:
            yield block, read


def _strays(read: list[tuple[Span, Span]], size: int, out: int, most: int) -> bool:
    """Whether a block reads further than so many samples away from its own place: of images end to end, say."""
    return any(abs(span.start * out - block.start * size) > most * out for block, span in read)


def _lag(read: list[Span], size: int) -> int:
    """The most samples that a stream holds between the end of what it has read and what it will still read."""
    done, ends = 0, list[int]()
    for span in read:
        done = max(done, span.stop)
        ends.append(done)
    first, lag = size, 0
    for span, end in zip(reversed(read), reversed(ends), strict=True):
        first = min(first, span.start)
        lag = max(lag, end - first)
    return lag
