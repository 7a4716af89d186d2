"""Max-unpooling and its max-pooling: together they are local, although each counts positions in the whole image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..ops import Kind, kind_of
from ..ops.graph import Data, Node


def paired(nodes: Iterable[Node], outputs: Iterable[str]) -> list[Node]:
    """The nodes, with every unpooling linked to the pooling that its positions come from, and vice versa.

    An unpooling gets the windows of the pooling if it puts samples back into a tensor of the size that was pooled.
    Positions that only such unpoolings read are then samples like any other; otherwise it reads the pooled values
    instead, which come from the same windows.
    """
    out = list(nodes)
    known = {node.name: node for node in out}
    windows: dict[str, Windows] = {}
    for place, node in enumerate(out):
        found = _windows(node, known)
        if found is not None:
            out[place] = replace(node, args={**node.args, "window": found})
            windows[node.name] = found
    kept = set(outputs)
    for place, node in enumerate(out):
        if not _gives_positions(node):
            continue
        readers = [n for n in out if node.name in n.operands]
        if node.name not in kept and readers and all(n.name in windows for n in readers):
            out[place] = replace(node, args={**node.args, "window": windows[readers[0].name]})
            continue
        values = next((n for n in out if n.args == node.args and n.op == node.op and n.result == 0), None)
        for i, n in enumerate(out):
            if n.name in windows and node.name in n.operands:
                instead = {"window": None} if values is None else {"indices": Data(values.name), "apart": True}
                out[i] = replace(n, args={**n.args, **instead})
    return out


Windows = tuple[tuple[int, int, int], ...]
"""Kernel, stride and padding per axis."""


def _windows(node: Node, known: Mapping[str, Node]) -> Windows | None:
    """The windows of the pooling that an unpooling undoes; None where it is no unpooling, or undoes none."""
    if kind_of(node) is not Kind.UNPOOLING or not isinstance(node.args["indices"], Data):
        return None
    positions = known[node.args["indices"].node]
    if not _gives_positions(positions):
        return None
    pooled = known[positions.args["self"].node]
    if pooled.shape[2:] != node.shape[2:] or set(_ints(positions, "dilation", 1)) != {1}:
        return None
    kernel = _ints(positions, "kernel_size", 1)
    stride = _ints(positions, "stride", 1) if positions.args["stride"] else kernel
    return tuple(zip(kernel, stride, _ints(positions, "padding", 0), strict=True))


def _gives_positions(node: Node) -> bool:
    """Whether it is the second result of a pooling of torch: the positions of the maxima. What the second result of
    somebody's own pooling is, nobody said."""
    return node.result == 1 and kind_of(node) is Kind.POOLING and node.op.startswith("aten::")


def _ints(node: Node, name: str, default: int) -> tuple[int, ...]:
    """An argument as one int per spatial axis."""
    value = node.args.get(name)
    n = len(node.shape) - 2
    values = value if isinstance(value, tuple) else (value,) if isinstance(value, int) else ()
    return tuple(values) * n if len(values) == 1 else tuple(values) or (default,) * n
