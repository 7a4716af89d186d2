"""Multiply-accumulates of a net, whole or on a tile, from the graph alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod

from ..algebra.spans import Span
from ..ops import Call, find
from ..ops.cost import counts, kernel_macs, needed_macs, slab_macs
from ..propagate.grid import Grid
from ..propagate.values import Propagation


@dataclass(frozen=True)
class Work:
    """Multiply-accumulates. macs: output samples times the taps of their phase. kernel_macs: what the calls compute.

    >>> Work(96, 114) + Work(4, 6), Work(96, 114).times(2)
    (Work(macs=100, kernel_macs=120), Work(macs=192, kernel_macs=228))
    """

    macs: int = 0
    kernel_macs: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.macs + other.macs, self.kernel_macs + other.kernel_macs)

    def times(self, n: int) -> Work:
        return Work(self.macs * n, self.kernel_macs * n)


@dataclass(frozen=True)
class Left:
    """Along one axis, the steps that a tile leaves out before and after, and a tensor that moves with them."""

    first: int
    last: int
    like: str


class Costs:
    """What the operators of a net cost on its tiles."""

    def __init__(self, net: Propagation) -> None:
        self._net = net
        self._grids = {axis: Grid(net, axis) for _, axis in net.slots}
        self._counted = [node for node in net.graph if counts(node.op)]

    def of(self, left: Mapping[str, Left]) -> Work:
        """One run of the net on the tile that leaves this out along each axis; `{}`: on the whole image."""
        return sum(self.each_of(left).values(), Work())

    def each_of(self, left: Mapping[str, Left]) -> dict[str, Work]:
        """The same by node, of those that count."""
        found = {}
        for node in self._counted:
            rule = find(node.op)
            assert rule is not None
            shape, starts = self._shape(node.name, left)
            shapes = tuple(self._shape(name, left)[0] for name in node.operands)
            call = Call(replace(node, shape=shape), shapes)
            part = self._turns(left)
            found[node.name] = Work(
                int(needed_macs(call, rule.law(call), starts) * part), int(kernel_macs(call) * part)
            )
        return found

    def _turns(self, left: Mapping[str, Left]) -> Fraction:
        """The share of the turns of loops that are left; within a turn, nothing is cut along the axis of its loop."""
        part = Fraction(1)
        for axis in self._net.loops.keys() & left.keys():
            size = self._net.size(left[axis].like, axis) or 1
            part *= Fraction(self._extent(left[axis].like, axis, size, left).length, size)
        return part

    def on(self, regions: Mapping[str, Mapping[str, Span]]) -> Work:
        """The calls that compute exactly these regions."""
        return sum(self.each_on(regions).values(), Work())

    def each_on(self, regions: Mapping[str, Mapping[str, Span]]) -> dict[str, Work]:
        """The same by node, of those that count."""
        found = {}
        for node in self._counted:
            region = regions.get(node.name)
            if region is None:
                continue
            rule = find(node.op)
            assert rule is not None
            shape, starts = self._within(node.name, region)
            read = [self._within(name, self._read(node.name, name, region))[0] for name in node.operands]
            call = Call(replace(node, shape=shape), tuple(read))
            whole = Call(node, tuple(self._net.graph[name].shape for name in node.operands))
            kernels = slab_macs(whole, call, self._spans(node.name, region))
            found[node.name] = Work(needed_macs(call, rule.law(call), starts), kernels)
        return found

    def samples_of(self, name: str, left: Mapping[str, Left]) -> int:
        """The number of samples of a tensor on a tile."""
        return prod(self._shape(name, left)[0])

    def samples_on(self, name: str, region: Mapping[str, Span]) -> int:
        """The number of samples in a region of a tensor."""
        return prod(self._within(name, region)[0])

    def _spans(self, name: str, region: Mapping[str, Span]) -> list[Span | None]:
        """The region along each dimension that is an axis; None for the others."""
        layout = self._net.values[name].layout
        every = [layout.places(d) for d in range(len(layout.widths))]
        return [region.get(layout.labels[places[0]]) if len(places) == 1 else None for places in every]

    def _read(self, node: str, operand: str, region: Mapping[str, Span]) -> dict[str, Span]:
        """What a region reads of an operand, including positions beyond the image, where zeros are multiplied."""
        found: dict[str, Span] = {}
        for path in self._net.values[node].paths:
            for axis, along in path.axes.items() if path.operand == operand else ():
                raw = along.reads.reads(*region[axis])
                if raw is not None:
                    found[axis] = raw.joined(found.get(axis))
        return found

    def _within(self, name: str, region: Mapping[str, Span]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        layout = self._net.values[name].layout
        shape, starts = [], []
        for d in range(len(layout.widths)):
            spans = [region.get(layout.labels[i], Span(0, layout.sizes[i])) for i in layout.places(d)]
            shape.append(prod(span.length for span in spans))
            starts.append(spans[0].start if len(spans) == 1 else 0)
        return tuple(shape), tuple(starts)

    def _shape(self, name: str, left: Mapping[str, Left]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shape of a tensor on a tile, and where it begins in the whole tensor along each dimension."""
        layout = self._net.values[name].layout
        shape, starts = [], []
        for d in range(len(layout.widths)):
            spans = [self._extent(name, layout.labels[i], layout.sizes[i], left) for i in layout.places(d)]
            shape.append(prod(span.length for span in spans))
            starts.append(spans[0].start if len(spans) == 1 else 0)
        return tuple(shape), tuple(starts)

    def _extent(self, name: str, label: str, size: int, left: Mapping[str, Left]) -> Span:
        cut = left.get(label)
        if cut is None or label not in self._net.values[name].rates or not self._grids[label].same(name, cut.like):
            return Span(0, size)
        per_step = self._grids[label].per_step(name)
        return Span(cut.first * per_step, size - cut.last * per_step)
