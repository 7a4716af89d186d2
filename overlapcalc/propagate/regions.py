"""Which part of every tensor a region of the outputs needs, when each operator computes one span per axis.

What is read (backward.py) is a set of samples; what is computed is a span. So hulls go backward here, from what is
computed to what that needs.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..algebra.spans import Span, Spans
from ..errors import UnforeseenError
from .values import AxisRead, Propagation

Extents = dict[str, Span]
"""Node -> its part along one axis. What is not named is not needed."""
Region = Mapping[str, Span]
"""A span per axis; axes that it does not name are whole."""


def extents_for(net: Propagation, axis: str, outputs: Mapping[str, Span]) -> Extents:
    """What every tensor must hold along an axis so that these outputs, by the names that are shown, can be given."""
    nodes = dict(net.graph.outputs)
    wanted: Extents = {nodes[shown]: span for shown, span in outputs.items()}
    for name in reversed(net.graph.order):
        span = wanted.get(name)
        if span is None:
            continue
        for path in net.values[name].paths:
            read = real_reads(net, path.operand, path.axes.get(axis), axis, span)
            if axis in path.obstructed:
                size = net.size(path.operand, axis)
                read = None if size is None else Span(0, size)
            if read is not None and axis in path.axes and path.axes[axis].carried:
                wanted[name] = Span(0, span.stop)
                read = Span(0, read.stop)
            if read is not None:
                wanted[path.operand] = read.joined(wanted.get(path.operand))
    return wanted


def joint_regions(net: Propagation, along: Mapping[str, Mapping[str, Span]]) -> dict[str, Region]:
    """Node -> the region of it that all axes together need; nodes that one axis does not need are left out.

    along: for each axis the part of each node that is needed. Axes that are not named are needed whole.
    """
    regions: dict[str, Region] = {}
    for node in net.graph:
        whole = whole_region(net, node.name)
        here = {axis: extents for axis, extents in along.items() if axis in whole}
        if all(node.name in extents for extents in here.values()):
            regions[node.name] = {**whole, **{axis: extents[node.name] for axis, extents in here.items()}}
    return regions


def whole_region(net: Propagation, node: str) -> dict[str, Span]:
    """The region that is all of a tensor. Raises UnforeseenError for one without samples."""
    layout = net.values[node].layout
    empty = next((part.label for part in layout.parts if part.is_axis and not part.size), None)
    if empty is not None:
        of = net.graph[node]
        raise UnforeseenError(
            f"{net.names.get(node) or of.layer or node}: {of.called} gives no samples along {empty}, and blocks need "
            "some; leave out what is empty"
        )
    return {part.label: Span(0, part.size) for part in layout.parts if part.is_axis}


def real_reads(net: Propagation, operand: str, along: AxisRead | None, axis: str, span: Span) -> Span | None:
    """The hull of the samples of an operand that a span reads, with borders folded back into the image."""
    size = net.size(operand, axis)
    if along is None or size is None:
        return None
    raw = along.reads.reads(*span)
    return None if raw is None else along.border.fold(Spans.span(*raw), size)[0].hull
