"""Calls of operators in a loop, through their families' ways to run on a slab."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...algebra.spans import Span
from ...errors import NoSlabError
from ...ops import find
from ...ops.graph import Node
from ...propagate.regions import Region, whole_region
from ...trace.runnable import Invocation
from ..slab.call import SlabCall
from ..slab.frame import FAR, Frame, SlabTensor, extents
from ..slab.masked import stays
from .placed import at_places

Places = Mapping[str, Tensor]
"""Axis -> where each of some samples lies along it."""
Values = Mapping[str, Tensor]
"""Node -> its samples as a tensor whose first axis counts them and whose other axes have length 1."""


@dataclass(frozen=True)
class Caller:
    """What calls of one operator have in common. kind: the type of its result. axes: those of the loop."""

    frame: Frame
    node: Node
    invocation: Invocation | None
    axes: Sequence[str]
    kind: torch.dtype

    def result(self, region: Region, operands: Mapping[str, SlabTensor], places: Places | None = None) -> Tensor:
        """A region of the result. places: of samples of any place, one after the other. Raises NoSlabError."""
        call = (_Call if places is None else _Column)(self.frame, self.node, self.invocation, region, operands)
        call.kind, call.places, call.first = self.kind, places or {}, self.axes[0]
        return call.result()

    def region(self, node: str, along: Region) -> dict[str, Span]:
        """A region along the axes of the loop; whole along others."""
        return {**whole_region(self.frame.net, node), **along}

    def nothing(self, operand: str, like: Tensor) -> SlabTensor:
        """An operand of which nothing is read, in its own type."""
        layout = self.frame.value(operand).layout
        far = {part.label: Span(FAR, FAR + 1) for part in layout.parts if part.is_axis}
        zero = like[:0].sum().to(like.dtype)
        return SlabTensor(zero.expand(extents(layout, far)), far)


class _Call(SlabCall):
    """A call on a few samples. Types are those of the loop."""

    kind: torch.dtype
    places: Places
    first: str

    def typed(self, x: Tensor) -> Tensor:
        return x.to(self.kind)

    def plain(self) -> Tensor:
        """As it is, where every sample reads itself or, by a mask, nothing."""
        rule = find(self.node.op)
        if rule is not None and rule.sizes:
            raise self.none("has arguments that are sizes")
        for path in self.frame.value(self.node.name).paths:
            for axis, along in path.axes.items():
                if axis in self.region and not stays(along.reads):
                    raise self.none(f"moves samples along {axis}")
        return self.run()


class _Column(_Call):
    """A pointwise call on samples, as if they were a column of an image, along the first axis of the loop. Constants
    that lie along the axes are taken at the places of the samples."""

    def _sliced(self, value: Tensor, targets: Mapping[int, int]) -> Tensor:
        n, along = len(self.layout.widths), dict[int, Tensor]()
        for s, d in targets.items():
            axes = [axis for axis in self.layout.axes_of(d) if axis in self.places]
            if not axes or value.shape[s] == 1:
                continue
            if (
                self.layout.widths[d] != 1
                or d != n - value.dim() + s
                or value.shape[s] != self.layout.sizes[self.layout.starts[d]]
            ):
                raise self.none("has a constant that lies along an axis in a way of its own")
            along[d] = self.places[axes[0]]
        if not along:
            return value
        (first,) = (d for d in range(n) if self.first in self.layout.axes_of(d))
        return at_places(value, along, first, n)


def on_samples(caller: Caller) -> Callable[[Values, int, Places], Tensor]:
    """A pointwise call on a column of samples, at their places. Raises NoSlabError when it is called."""
    axes, net = caller.axes, caller.frame.net

    def run(values: Values, count: int, places: Places) -> Tensor:
        along = {axis: Span(0, count if axis == axes[0] else 1) for axis in axes}
        held = {}
        for name in caller.node.operands:
            if name in values:
                own = {axis: span for axis, span in along.items() if axis in net.values[name].labels}
                held[name] = SlabTensor(values[name], caller.region(name, own))
        return caller.result(caller.region(caller.node.name, along), held, places)

    return run


@dataclass(frozen=True)
class Group:
    """Samples of an operator's output that it makes in one way. like: one of them, as a place along each axis.
    regions: for each operand, what that one reads, as a span along each axis. absent: operands of which it reads
    nothing."""

    like: tuple[int, ...]
    regions: Mapping[str, Mapping[str, Span]]
    absent: Mapping[str, SlabTensor]


def in_group(caller: Caller, group: Group, operands: Mapping[str, Tensor], count: int) -> Tensor:
    """The samples of a group, one after the other along a new first dimension.

    operands: what each of the `count` samples reads of each operand, in the same order along a first dimension.
    """
    at = {axis: Span(at, at + 1) for axis, at in zip(caller.axes, group.like, strict=True)}
    region, names = caller.region(caller.node.name, at), list(operands)

    def one(*parts: Tensor) -> Tensor:
        held = {
            name: SlabTensor(part, caller.region(name, group.regions[name]))
            for name, part in zip(names, parts, strict=True)
        }
        return caller.result(region, {**group.absent, **held})

    if not operands:  # padding, or constants
        made = one().unsqueeze(0)
        return made.expand(count, *made.shape[1:])
    if count == 1:
        return one(*(x[0] for x in operands.values())).unsqueeze(0)
    try:
        many: Tensor = torch.vmap(one)(*operands.values())
    except (RuntimeError, NoSlabError):  # it cannot run on a batch of them
        many = torch.stack([one(*(x[i] for x in operands.values())) for i in range(count)])
    return many
