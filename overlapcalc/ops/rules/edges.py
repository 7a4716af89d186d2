"""Padding that is spelled as a concatenation: the end samples of a tensor, or its mirror image, laid beside it.

cat([x[:1]] * 2 + [x])            replicates the first sample twice
cat([x[1:3].flip(0), x])          mirrors two samples
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..call import Call
from ..graph import Data, Node
from ..together import Together, operand, together

REPLICATE, REFLECT = "replicate", "reflect"
Nodes = Mapping[str, Node]


@together("aten::cat", "aten::concat", "aten::concatenate")
def padded_by_its_ends(node: Node, known: Nodes) -> Together | None:
    """A tensor between pieces of its own ends, along one dimension."""
    items = node.args["tensors"]
    if not all(isinstance(item, Data) for item in items):
        return None
    names, n = [item.node for item in items], len(node.shape)
    d = int(node.args.get("dim") or 0) % n
    source = max(names, key=lambda name: known[name].shape[d] if len(known[name].shape) == n else 0)
    if names.count(source) != 1 or known[source].shape[d] < 2:
        return None
    at = names.index(source)
    before = _side(names[:at], known, source, d, last=False)
    after = _side(names[at + 1 :], known, source, d, last=True)
    modes = {side[0] for side in (before, after) if side is not None and side[1]}
    if before is None or after is None or len(modes) != 1:
        return None
    pad = [0] * (2 * (n - d))
    pad[-2:] = before[1], after[1]
    args = {"self": Data(source), "pad": tuple(pad), "mode": modes.pop(), "value": None}
    return Together("aten::pad", args, before[2] | after[2])


Side = tuple[str, int, frozenset[str]]
"""The mode, how many samples, and the calls that make them."""


def _side(names: Sequence[str], known: Nodes, source: str, d: int, *, last: bool) -> Side | None:
    """What lies on one side of the tensor; None where that is no padding."""
    if len(names) == 1:
        mirrored = _mirrored(known[names[0]], known, source, d, last=last)
        if mirrored is not None:
            return mirrored
    made = frozenset[str]()
    for name in set(names):
        calls = _calls(known[name], known, source, d, last=last)
        if calls is None:
            return None
        made |= calls
    return REPLICATE, sum(known[name].shape[d] for name in names), made


def _calls(node: Node, known: Nodes, source: str, d: int, *, last: bool) -> frozenset[str] | None:
    """The calls that make an end sample, perhaps several times: a slice, then `expand` or `repeat`."""
    inner = operand(node, "self")
    if node.op in ("aten::expand", "aten::repeat", "aten::broadcast_to") and inner is not None:
        of = known[inner]
        alike = [n for e, n in enumerate(node.shape) if e != d] == [n for e, n in enumerate(of.shape) if e != d]
        if len(of.shape) == len(node.shape) and alike and of.shape[d] == 1:
            found = _calls(of, known, source, d, last=last)
            return None if found is None else found | {node.name}
        return None
    size = known[source].shape[d]
    wanted = size - 1 if last else 0
    return frozenset({node.name}) if _cut(node, source, d, size) == (wanted, wanted + 1) else None


def _mirrored(node: Node, known: Nodes, source: str, d: int, *, last: bool) -> Side | None:
    """The samples beside an end sample in reverse order."""
    inner = operand(node, "self")
    if node.op != "aten::flip" or inner is None or Call(node, (node.shape,)).dims("dims") != (d,):
        return None
    size, k = known[source].shape[d], node.shape[d]
    wanted = (size - 1 - k, size - 1) if last else (1, 1 + k)
    if k >= size or _cut(known[inner], source, d, size) != wanted:
        return None
    return REFLECT, k, frozenset({node.name, inner})


def _cut(node: Node, source: str, d: int, size: int) -> tuple[int, int] | None:
    """Which samples of the tensor a slice along the dimension has; None where it is no such slice."""
    if node.op not in ("aten::slice", "aten::narrow") or operand(node, "self") != source:
        return None
    call = Call(node, ((*node.shape[:d], size, *node.shape[d + 1 :]),))
    if call.dim() != d or (call["step"] or 1) != 1 or not isinstance(call["start"] or 0, int):
        return None
    start = int(call["start"] or 0)
    start = min(max(start + size if start < 0 else start, 0), size)
    return start, start + node.shape[d]
