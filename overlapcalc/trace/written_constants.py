"""Constants that a net writes piece by piece (the mask of a shifted window, say), computed beforehand.

Torch can follow such writes, but takes several times as long as for the export. No data and no weight is in them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch.fx import Node as FxNode

from .constants import looked_at
from .fx import live_parameters
from .memory import MemoryGroups, writes
from .naming import operator_name

MOST_VALUES = 1 << 26
"""Larger ones are left to torch."""


class WrittenConstants:
    """The constants of a graph that are written to, each with every operator that makes it, writes to it or views it.

    nodes: all of these operators. values: name -> what readers of one of them see. Nothing has changed until `replace`.
    """

    def __init__(self, program: Any) -> None:
        self._graph: torch.fx.Graph = program.graph
        self.nodes: set[FxNode] = set()
        self.values: dict[str, torch.Tensor] = {}
        self._read: dict[FxNode, FxNode] = {}
        if not any(writes(node) for node in self._graph.nodes):
            return
        known = _lifted(program)
        groups = [set(group) for group in MemoryGroups(self._graph).groups().values() if any(map(writes, group))]
        within = {node: group for group in groups for node in group}
        for group in groups:
            writers = [node for node in group if writes(node)]
            made = _needed(group, within, known)
            if made is None or any(user < max(writers) for node in group for user in _readers(node, group)):
                continue
            values = _run(sorted(made), known)
            self.nodes |= set(group)
            for node in group:
                if _readers(node, group):
                    self.values[f"_written_{node.name}"] = values[node]
                    self._read[node] = max(writers)

    def replace(self) -> None:
        """Let everything read the values instead, and drop what made them."""
        for node, last in self._read.items():
            with self._graph.inserting_after(last):
                value = self._graph.create_node("get_attr", f"_written_{node.name}")
            value.meta = dict(node.meta)
            node.replace_all_uses_with(value, delete_user_cb=lambda user: user not in self.nodes)
        for node in sorted(self.nodes, reverse=True):
            self._graph.erase_node(node)


def _lifted(program: Any) -> dict[str, torch.Tensor]:
    """Placeholder -> the tensor that it stands for, where that was made in `forward` and is no weight."""
    lifted = program.graph_signature.inputs_to_lifted_tensor_constants
    weights = live_parameters() if lifted else set()
    found = {name: program.constants[target] for name, target in lifted.items()}
    return {
        name: value
        for name, value in found.items()
        if type(value) is torch.Tensor and value.numel() and value.data_ptr() not in weights
    }


def _readers(node: FxNode, group: Collection[FxNode]) -> list[FxNode]:
    return [user for user in node.users if user not in group]


def _needed(
    group: Collection[FxNode], within: Mapping[FxNode, Collection[FxNode]], known: Mapping[str, torch.Tensor]
) -> set[FxNode] | None:
    """All nodes that the group is computed from, with it; None where one of them is no constant, or unknown, or written
    to though the net did not make it: what it keeps may change with every call. within: node -> its group."""
    found: set[FxNode] = set()
    waiting = list(group)
    while waiting:
        node = waiting.pop()
        if node in found:
            continue
        found.add(node)
        if node.op == "placeholder" and node.name in known and node not in within:
            continue
        fake = node.meta.get("val")
        if node.op != "call_function" or not isinstance(fake, torch.Tensor) or prod(fake.shape) > MOST_VALUES:
            return None
        tags = getattr(node.target, "tags", ())
        if torch.Tag.nondeterministic_seeded in tags or not operator_name(node.target).startswith("aten::"):
            return None
        waiting += [*looked_at(node), *within.get(node, ())]
    return found


def _run(nodes: Sequence[FxNode], known: Mapping[str, torch.Tensor]) -> dict[FxNode, torch.Tensor]:
    """The nodes, executed in their order on the CPU."""
    values: dict[FxNode, torch.Tensor] = {}

    def fetch(node: FxNode) -> torch.Tensor:
        fake = node.meta["val"]  # where it is not computed, only its shape and type are used
        return values[node] if node in values else torch.zeros((), dtype=fake.dtype).expand(fake.shape)

    for node in nodes:
        if node.op == "placeholder":
            values[node] = known[node.name].detach().to("cpu", copy=True)
            continue
        kwargs = dict(torch.fx.map_arg(node.kwargs, fetch))
        if kwargs.get("device") is not None:
            kwargs["device"] = torch.device("cpu")
        values[node] = node.target(*torch.fx.map_arg(node.args, fetch), **kwargs)  # type: ignore[operator]
    return values
