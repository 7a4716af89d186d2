"""Max-unpooling belongs to a max-pooling: together they are local, though each counts positions in the whole image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .graph import Data, Node


def paired(nodes: Iterable[Node]) -> list[Node]:
    """The nodes, with every unpooling told of the pooling that its positions come from.

    It reads the pooled values instead of the positions (both come from the same windows), and learns their windows,
    where it puts samples back into a tensor of the size that was pooled.
    """
    out = list(nodes)
    known = {node.name: node for node in out}
    for place, node in enumerate(out):
        if not node.op.startswith("aten::max_unpool"):
            continue
        positions = known[node.args["indices"].node]
        if not (positions.op.startswith("aten::max_pool") and positions.op.endswith("_with_indices")):
            continue
        values = next((n for n in out if n.args == positions.args and n.op == positions.op and n.result == 0), None)
        pooled = known[positions.args["self"].node]
        if values is None or pooled.shape[2:] != node.shape[2:] or set(_ints(positions, "dilation", 1)) != {1}:
            continue
        kernel = _ints(positions, "kernel_size", 1)
        stride = _ints(positions, "stride", 1) if positions.args["stride"] else kernel
        window = tuple(zip(kernel, stride, _ints(positions, "padding", 0), strict=True))
        out[place] = replace(node, args={**node.args, "indices": Data(values.name), "window": window})
    return out


def _ints(node: Node, name: str, default: int) -> tuple[int, ...]:
    """An argument as one int per spatial axis."""
    value = node.args.get(name)
    n = len(node.shape) - 2
    values = value if isinstance(value, tuple) else (value,) if isinstance(value, int) else ()
    return tuple(values) * n if len(values) == 1 else tuple(values) or (default,) * n
