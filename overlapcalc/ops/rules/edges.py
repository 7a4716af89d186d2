"""Padding that is spelled as a concatenation: the end samples of a tensor, or its mirror image, laid beside it.

cat([x[:1]] * 2 + [x])            replicates the first sample twice
cat([x[1:3].flip(0), x])          mirrors two samples
cat([x[0:2].flip(0), x])          mirrors two samples, the first one included
cat([x[1:3].flip(0), x, zeros])   mirrors two samples, and pads with zeros at the other end
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..call import Call
from ..graph import Constant, Data, Node
from ..together import Together, operand, together

REPLICATE, REFLECT, SYMMETRIC = "replicate", "reflect", "symmetric"
Nodes = Mapping[str, Node]


@together("aten::cat", "aten::concat", "aten::concatenate")
def padded_by_its_ends(node: Node, known: Nodes) -> Together | None:
    """A tensor between pieces of its own ends, along one dimension; and between constants beyond them."""
    items, n = node.args["tensors"], len(node.shape)
    places = [i for i, item in enumerate(items) if isinstance(item, Data)]
    names = [items[i].node for i in places]
    d = int(node.args.get("dim") or 0) % n
    source = max(names, key=lambda name: known[name].shape[d] if len(known[name].shape) == n else 0)
    whole = places == list(range(places[0], places[-1] + 1))
    if names.count(source) != 1 or known[source].shape[d] < 2 or not whole:
        return None
    at = names.index(source)
    before = _side(names[:at], known, source, d, last=False)
    after = _side(names[at + 1 :], known, source, d, last=True)
    if before is None or after is None or not (before[1] or after[1]):
        return None
    steps = _pads(node, known[source], d, before, after)
    loose = before[2] | after[2]
    if len(places) == len(items):
        return Together(steps[-1].op, steps[-1].args, loose, tuple(steps[:-1]))
    if not all(isinstance(item, (Data, Constant)) for item in items):
        return None
    tensors = (*items[: places[0]], Data(steps[-1].name), *items[places[-1] + 1 :])
    return Together(node.op, {**node.args, "tensors": tensors}, loose, tuple(steps))


def _pads(node: Node, source: Node, d: int, before: Side, after: Side) -> list[Node]:
    """One padding where both sides are alike, otherwise one after the other."""
    if before[0] == after[0] or not before[1] or not after[1]:
        sides = [(before[0] if before[1] else after[0], before[1], after[1])]
    else:
        sides = [(before[0], before[1], 0), (after[0], 0, after[1])]
    steps, inner = list[Node](), source
    for mode, first, last in sides:
        pad = [0] * (2 * (len(node.shape) - d))
        pad[-2:] = first, last
        args = {"self": Data(inner.name), "pad": tuple(pad), "mode": mode, "value": None}
        shape = (*inner.shape[:d], inner.shape[d] + first + last, *inner.shape[d + 1 :])
        inner = replace(node, name=f"{node.name}.{len(steps)}", op="aten::pad", args=args, shape=shape, pointwise=False)
        steps.append(inner)
    return steps


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
    """The samples beside an end sample in reverse order, without that sample or with it."""
    inner = operand(node, "self")
    if node.op != "aten::flip" or inner is None or Call(node, (node.shape,)).dims("dims") != (d,):
        return None
    size, k = known[source].shape[d], node.shape[d]
    found = _cut(known[inner], source, d, size)
    for mode, beside in ((REFLECT, 1), (SYMMETRIC, 0)):
        if k + beside <= size and found == ((size - beside - k, size - beside) if last else (beside, beside + k)):
            return mode, k, frozenset({node.name, inner})
    return None


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
