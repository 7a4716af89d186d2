"""Which operators of a loop run together: chains that read sample by sample what the one before just made.

Only what ends a chain is held, because something else reads it, at other samples or at another time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch

from ...algebra.index_map import IndexMap
from ...ops.border import Border
from ...ops.facts import kind_of
from ...ops.kind import Kind
from ...propagate.values import Propagation
from .demand import Demand, sizes_of
from .placed import placed_along
from .rows import fits


@dataclass(frozen=True)
class Chain:
    """nodes: in order of execution. ends: those that are held, or handed to a stage. stage: the stage that takes all
    of its ends; None where it ends in one that is held."""

    nodes: tuple[str, ...]
    ends: tuple[str, ...]
    stage: int | None


def chains(
    net: Propagation, axes: Sequence[str], nodes: Sequence[str], wanted: Demand, taken: Mapping[str, Collection[int]]
) -> list[Chain]:
    """nodes: those of the loop without inputs, in order of execution. taken: per output node, the stages that take it.

    The chains come in an order in which each can run after the ones before.
    """
    known, head = set(nodes), dict[str, End]()
    for name in reversed(nodes):
        readers = [reader for reader in net.graph.readers(name) if reader in known and _is_made(wanted, reader)]
        ends: set[End] = {head[reader] for reader in readers}
        if not readers:  # outputs of one stage that have the same samples end together
            ends |= {(stage, sizes_of(net, name, axes)) for stage in taken.get(name, ())}
        alike = all(is_pointwise(net, axes, reader) for reader in readers)
        at_once = all(torch.equal(wanted.made[name], wanted.made[reader]) for reader in readers)
        inside = len(ends) == 1 and alike and at_once and not (readers and name in taken)
        head[name] = next(iter(ends)) if inside else name
    members: dict[End, list[str]] = {}
    for name in nodes:
        if _is_made(wanted, name):
            members.setdefault(head[name], []).append(name)
    found = []
    for end, own in members.items():
        if isinstance(end, str):
            found.append(Chain(tuple(own), (end,), None))
        else:
            found.append(Chain(tuple(own), tuple(name for name in own if name in taken), end[0]))
    return sorted(found, key=lambda chain: nodes.index(chain.nodes[-1]))


End = str | tuple[int, tuple[int, ...]]
"""What a chain ends in: a node that is held, or a stage that takes outputs of these sizes."""


def _is_made(wanted: Demand, node: str) -> bool:
    return bool((wanted.read[node] >= 0).any())


def is_pointwise(net: Propagation, axes: Sequence[str], node: str) -> bool:
    """Whether an operator reads, at each sample, that sample of every operand and constant that has the axes."""
    value, own = net.values[node], sizes_of(net, node, axes)
    for path in value.paths:
        layout = net.values[path.operand].layout
        if not any(axis in layout.labels for axis in axes):
            continue
        if not fits(layout, axes) or sizes_of(net, path.operand, axes) != own:
            return False
        for axis in axes:
            along = path.axes.get(axis)
            if along is None or along.reads != IndexMap.identity() or along.border is not Border.CONSTANT:
                return False
    return all(constant.alone and constant.trailing for constant in placed_along(net, axes, node))


def is_zero_pad(net: Propagation, axes: Sequence[str], node: str) -> bool:
    """Whether an operator pads its operand with zeros along the axes alone, or cuts it there."""
    value, call = net.values[node], net.graph[node]
    if kind_of(call) is not Kind.PADDING or call.args.get("value") or len(value.paths) != 1:
        return False
    path, layout = value.paths[0], value.layout
    before = net.values[path.operand].layout
    if not fits(before, axes) or set(path.axes) != set(axes) or before.labels != layout.labels:
        return False
    others = [i for i, label in enumerate(layout.labels) if label not in axes]
    one_each = all(along.border is Border.CONSTANT and along.reads.scale == 1 for along in path.axes.values())
    return one_each and all(before.sizes[i] == layout.sizes[i] for i in others)
