"""The net at the analysed size, and at any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

from ..errors import InputError, TraceError
from ..ops.graph import Graph, Shapes
from ..propagate.forward import propagate
from ..propagate.grid import Grid
from ..propagate.values import Propagation, joined
from ..trace.run_memory import MemoryAt
from .one_image import OneImage, one_image

Retrace = Callable[[Shapes, bool], Propagation]
"""Input shapes -> the net there. With True, compared with a larger trace; with False, as it is at that size."""


@dataclass(frozen=True)
class Variants:
    """A propagated net, and access to variants of it.

    moved: the same net at other input shapes, and the shapes at which it was verified. cut: the same net up to other
    outputs, pairs (name shown, node), and those shapes. run_memory: the memory that a run of the whole net holds, from
    shapes alone. runnable: its calls at these input shapes, to be run one by one (trace/runnable.py). typed: the same
    net traced in another floating type, "float64" say, at the same shapes, given its calls in its own type: constants
    that it makes in the type of its input then have that type. carrying: see `one_sided`. graph: its graph at
    these input shapes.

    All of them trace at most once per size.
    """

    net: Propagation
    retrace: Retrace
    moved: Callable[[Shapes], tuple[Variants, Shapes | None]]
    cut: Callable[[tuple[tuple[str, str], ...]], tuple[Variants, Shapes | None]]
    run_memory: MemoryAt
    runnable: Callable[[Shapes], Any]
    typed: Callable[[str, Any], Variants] | None = None
    carrying: Callable[[], Variants] | None = None
    graph: Callable[[Shapes], Graph] | None = None

    @cached_property
    def here(self) -> Variants:
        """The same by the laws of this size alone, if there is an obstacle at any size, or a tensor that is followed
        from its other end: a schedule other than crop runs at one size, needs no more, and takes tensors as they lie.
        The obstacles that are left stand in its way too."""
        if (
            not self.net.mirrored
            and not self.net.loops
            and not any(reads.via for _, node in self.net.graph.outputs for reads in joined(self.net, node))
        ):
            return self
        views = {name: value.view for name, value in self.net.values.items() if value.view is not None}
        return replace(self, net=propagate(self.net.traced, names=self.net.names, views=views, at_size=True))

    @cached_property
    def one_sided(self) -> Variants | None:
        """The same net, followed by how far ahead it reads (see `propagate`); None where no operator of it carries a
        state, which would be an obstacle that reads nothing ahead."""
        laws = (value.law for value in self.net.values.values())
        some = any(dim.carried is not None for law in laws for link in law.links for dim in link.dims)
        return self.carrying() if some and self.carrying is not None else None

    @cached_property
    def one_image(self) -> OneImage | None:
        """The net for one image of the batch, where there are several and none reads another."""
        return one_image(self)

    def output_node(self, shown: str) -> str:
        """The node of an output, by the name that is shown."""
        return output_of(self.net, shown)

    def at(self, input: str, axis: str, size: int, verified: bool) -> Propagation:
        """The net at another length of one axis: all inputs on the joint grid change with it."""
        now = self.net.size(input, axis)
        if size == now:
            return self.net
        if not isinstance(size, int) or size < 1:
            raise InputError(f"size={size!r}: expected a number of input samples along {axis}, at least 1")
        return self.retrace(shapes_at(self.net, input, {axis: size}), verified or axis in self.net.loops)


def output_of(net: Propagation, shown: str) -> str:
    """The node of an output, by the name that is shown; at another size it may be another one. Raises TraceError."""
    found = dict(net.graph.outputs).get(shown)
    if found is None:
        names = ", ".join(name for name, _ in net.graph.outputs)
        raise TraceError(f"there is no output {shown} at this size of the input; the net has {names}")
    return found


def shapes_at(net: Propagation, input: str, sizes: Mapping[str, int]) -> Shapes:
    """All input shapes, given that one input gets other lengths along some axes. Raises InputError."""
    shapes = {name: list(net.graph[name].shape) for name in net.graph.inputs}
    for axis, size in sizes.items():
        now = net.size(input, axis)
        assert now is not None
        grid = Grid(net, axis)
        for name, shape in shapes.items():
            d = net.values[name].part_of(axis)
            if d is None or not (name == input or grid.same(name, input)):
                continue
            more = Fraction((size - now) * grid.per_step(name), grid.per_step(input))
            if more.denominator != 1 or shape[d] + more < 1:
                raise InputError(
                    f"size={size} of {input} along {axis} leaves no whole size for input {name}; analyze the net "
                    "at the shapes in question instead"
                )
            shape[d] += int(more)
    return tuple(map(tuple, shapes.values()))
