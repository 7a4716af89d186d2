"""The net for one image of a batch, where no image of a batch reads another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import lcm
from typing import TYPE_CHECKING

from ..algebra.index_map import IndexMap
from ..errors import OverlapcalcError
from ..ops import find
from ..ops.graph import Graph, Shapes
from ..ops.layout import AXES, BATCH
from ..ops.place import constants_at
from ..propagate.compare import differences, views_of
from ..propagate.forward import propagate
from ..propagate.values import Propagation, joined

if TYPE_CHECKING:
    from .variants import Variants


SHAPES = {"size", "shape", "sizes", "normalized_shape", "N", "HxW"}
"""Arguments that are a shape or a part of one."""


@dataclass(frozen=True)
class OneImage:
    """variants: of the net for one image. count: the images of a batch. dims: the dimension along which each input and
    output holds them, by the names that are shown; an input without is the same for all images."""

    variants: Variants
    count: int
    dims: Mapping[str, int]


def one_image(variants: Variants) -> OneImage | None:
    """The net for one image, if image i of every output is what the net gives for image i of the inputs; else None.

    Shown as for an axis: the batch is followed as if it were one. Each output must read its own index and no other, and
    the net must be the same, call by call, for one image as for all.
    """
    net = variants.net
    found = _batches(net.traced)
    counts, axis = set(found.values()), next((a for a in AXES if a not in _axes(net.traced)), None)
    if len(counts) != 1 or axis is None:
        return None
    count = counts.pop()
    try:
        one = variants.retrace(_shapes(net.traced, found), False)
        views = views_of(net, one.traced)
        one = propagate(one.traced, names=one.names, views=views)
        every = _followed(net, axis, found)
        apart = _is_same(_followed(one, axis, found, every), every, axis, count) and one.graph.order == net.graph.order
    except OverlapcalcError:
        return None
    dims = {shown: _dim(every, node, axis, count) for shown, node in every.graph.outputs} if apart else {}
    if not apart or any(d is None for d in dims.values()):
        return None
    letters = {name: net.traced[name].letters.index(BATCH) for name in found}
    own = {shown: d for shown, d in dims.items() if d is not None}
    return OneImage(replace(variants, net=one, typed=None), count, {**letters, **own})


def _batches(graph: Graph) -> dict[str, int]:
    """The length of the batch of each input that has more than one image."""
    found = {}
    for name in graph.inputs:
        d = graph[name].letters.find(BATCH)
        if d >= 0 and graph[name].shape[d] > 1:
            found[name] = graph[name].shape[d]
    return found


def _axes(graph: Graph) -> set[str]:
    return {axis for name in graph.inputs for axis in graph[name].axes}


def _shapes(graph: Graph, batches: Mapping[str, int]) -> Shapes:
    """The shapes of the inputs for one image."""
    shapes = []
    for name in graph.inputs:
        shape, letters = graph[name].shape, graph[name].letters
        own = name in batches
        shapes.append(tuple(1 if own and a == BATCH else n for n, a in zip(shape, letters, strict=True)))
    return tuple(shapes)


def _followed(net: Propagation, axis: str, batches: Mapping[str, int], like: Propagation | None = None) -> Propagation:
    """The same net at its size with the batch as an axis. like: the same for more images, whose views show better what
    they do with the batch."""
    graph = net.traced
    inputs = {name: replace(graph[name], layout=graph[name].letters.replace(BATCH, axis)) for name in batches}
    relabelled = Graph.of([inputs.get(node.name, node) for node in graph], list(graph.outputs))
    views = None if like is None else views_of(like, relabelled)
    return propagate(relabelled, names=net.names, views=views, at_size=True)


def _is_same(one: Propagation, every: Propagation, axis: str, count: int) -> bool:
    """Whether both are the same net, in which each output reads its own index along the axis."""
    if one.values.keys() != every.values.keys() or differences(one, every, _longer(one, axis, count)):
        return False
    names = one.graph.order
    alike = all(_same_sizes(one, every, name, axis, count) and _keeps(every, name, axis, count) for name in names)
    return alike and all(_apart(every, node, axis) for _, node in every.graph.outputs)


def _longer(one: Propagation, axis: str, count: int) -> dict[str, dict[str, int]]:
    """How much longer each tensor is for all images: along the batch, and nowhere else."""
    found: dict[str, dict[str, int]] = {}
    for name, value in one.values.items():
        sizes = {label: one.size(name, label) for label in value.labels if label}
        found[name] = {label: (count - 1) * n if label == axis else 0 for label, n in sizes.items() if n is not None}
    return found


def _same_sizes(one: Propagation, every: Propagation, name: str, axis: str, count: int) -> bool:
    """Whether a tensor is longer along the batch alone, and no number or constant in its call follows from the batch. A
    shape among the arguments is that of the tensor."""
    parts = zip(one.values[name].layout.parts, every.values[name].layout.parts, strict=True)
    if any(q.size != p.size * (count if p.label == axis else 1) for p, q in parts):
        return False
    a, b = one.graph[name], every.graph[name]
    rule = find(a.op)
    named = () if rule is None else rule.sizes - SHAPES
    return all(a.args.get(argument) == b.args.get(argument) for argument in named) and _same_constants(one, every, name)


def _same_constants(one: Propagation, every: Propagation, name: str) -> bool:
    """Whether no constant of a call has a value of its own for an image: one that is longer for all images, in whatever
    dimension, is the same everywhere along it. (A net at one size cuts constants where it cuts samples.)"""
    unread, others = one.values[name].law.unread, dict(constants_at(every.graph[name].args))
    return all(
        n == m or (d < len(others[at].variation) and others[at].variation[d] == 0)
        for at, constant in constants_at(one.graph[name].args)
        if at[0] not in unread and at in others
        for d, (n, m) in enumerate(zip(constant.shape, others[at].shape, strict=True))
    )


def _keeps(net: Propagation, node: str, axis: str, count: int) -> bool:
    """Whether each image of a tensor reads the same image of its operands, and no other. A net at one size knows what
    its calls read, and not what they read together; so this is asked of each call."""
    for path in net.values[node].paths:
        if axis in path.obstructed or (axis not in path.axes and net.size(path.operand, axis) is not None):
            return False
        if axis in path.axes:
            mine, other = (net.size(name, axis) for name in (node, path.operand))
            if not mine or not other or mine % count or other % count:
                return False
            if not _reads_own(path.axes[axis].reads, mine // count, other // count, count):
                return False
    return True


def _reads_own(reads: IndexMap, mine: int, other: int, count: int) -> bool:
    """Whether the `mine` indices of each image read among its `other` indices of the operand, all images alike."""
    even = reads.advance * mine == reads.period * other
    last = min(count * mine, lcm(reads.period, mine) + mine) if even else count * mine
    first = [reads[o] for o in range(mine)]
    inside = all(start >= 0 and stop <= other for spans in first for start, stop in spans.parts)
    return inside and all(reads[o] == first[o % mine].shift(o // mine * other) for o in range(mine, last))


def _apart(net: Propagation, node: str, axis: str) -> bool:
    """Whether nothing stands in the way along the axis."""
    return not any(reads.via for (_, label), reads in zip(net.slots, joined(net, node), strict=True) if label == axis)


def _dim(net: Propagation, node: str, axis: str, count: int) -> int | None:
    """The dimension of a tensor that is the axis and nothing else, with one index for each image."""
    layout, shape = net.values[node].layout, net.graph[node].shape
    alone = (d for d, n in enumerate(layout.widths) if n == 1 and layout.axes_of(d) == [axis] and shape[d] == count)
    return next(alone, None)
