"""What masks leave out of a net: scores at minus infinity, weights of zero, and what is not read for that.

A sample that is multiplied by zero for good is not read, as everywhere (see testing.md on NaN). So keys that a mask of
booleans or of minus infinities leaves out are not read by the queries that it leaves them out for. A large negative
number leaves nothing out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from ..algebra.cell_map import CellMap, DimMap
from ..algebra.cells import Field
from ..algebra.index_map import IndexMap
from ..algebra.reshape import CELL, Factoring
from ..ops import Masking, known_of
from ..ops.graph import Constant, Data, Node
from .through import cell_places
from .values import Path, TensorReads

HERE, LOW, ZERO, NOWHERE = 0, 1, 2, 3
"""A sample that counts; minus infinity; zero; and nothing at all, for joins."""
Left = Field[int]


@dataclass(frozen=True)
class Weights:
    """The weights of an operator that sums over keys: by cell of its output and key, whether one is left out.

    source: the cell dimension of the keys in the operand whose rows are weighed.
    """

    left: Left
    keys: int

    def needed(self, wanted: Field[int], path: Path, layout: Factoring) -> Field[int] | None:
        """What is needed of an operand that holds a row per key; None for an operand that does not."""
        source = self._keys_of(path, layout)
        if source is None:
            return None
        shape = (*wanted.shape, self.keys)
        asked = Field(shape, wanted.values, (*wanted.stored, 1)).merge(self.left, _without)
        same = DimMap(IndexMap.identity(), self.keys, self.keys)
        pairs = tuple((s, len(shape) - 1, same) if s == source else (s, t, m) for s, t, m in path.cells.pairs)
        return CellMap(path.cells.shape_in, shape, pairs).scatter(asked, _either, 0)

    def _keys_of(self, path: Path, layout: Factoring) -> int | None:
        d = len(layout.widths) - 2
        if d < 0 or layout.widths[d] != 1 or path.cells.flat:
            return None
        source = cell_places(layout.labels).get(layout.places(d)[0])
        found = [m for s, t, m in path.cells.pairs if s == source and t is None and s is not None]
        return source if len(found) == 1 and found[0].n_in == self.keys else None


def _without(mask: int, left: int) -> int:
    return 0 if left else mask


def _either(a: int, b: int) -> int:
    return a | b


class LeftOut:
    """What is left out of every tensor of a net, and by which operators what they sum over.

    of: by node, fields with LOW or ZERO where something is. weights: by node. settled: the nodes whose mask this
    follows in full.
    """

    def __init__(
        self, nodes: list[Node], values: Mapping[str, TensorReads], shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        self._values, self._shapes = values, shapes
        self.of: dict[str, Left] = {}
        self.weights: dict[str, Weights] = {}
        self.settled: set[str] = set()
        for node in nodes:
            way = known_of(node.op).masking
            if way is not None and node.op != "input":
                found = WAYS[way](self, node)
                if found is not None and any(found.values):
                    self.of[node.name] = found

    def _operand(self, node: Node, name: str) -> Left | None:
        value = node.args.get(name)
        return self.of.get(value.node) if isinstance(value, Data) else None

    def _moves(self, node: Node) -> Left | None:
        value, found = self._values[node.name], None
        if not any(path.operand in self.of for path in value.paths):
            return None
        for path in value.paths:
            left = self.of.get(path.operand) or Field.one(self._values[path.operand].cells.shape, HERE)
            here = path.cells.gather(left, _all, NOWHERE)
            found = here if found is None else found.merge(here, _all)
        return None if found is None else found.map(lambda x: HERE if x == NOWHERE else x)

    def _scales(self, node: Node) -> Left | None:
        found = None
        for name, other in (("self", "other"), ("other", "self")):
            left, by = self._spread(node, name), node.args.get(other)
            if left is None:
                continue
            positive = isinstance(by, (int, float)) and by > 0
            left = left if positive else left.map(lambda x: ZERO if x == ZERO else HERE)
            found = left if found is None else found.merge(left, max)
        return found

    def _adds(self, node: Node) -> Left | None:
        alpha, found = node.args.get("alpha"), None
        if alpha is not None and not (isinstance(alpha, (int, float)) and alpha > 0):
            return None
        for name in ("self", "other"):
            value = node.args.get(name)
            if isinstance(value, Constant):
                left = None if value.truth else self._constant(node, value)
            else:
                left = self._spread(node, name)
            if left is not None:
                low = left.map(lambda x: LOW if x == LOW else HERE)
                found = low if found is None else found.merge(low, max)
        return found

    def _fills(self, node: Node) -> Left | None:
        mask, value = node.args.get("mask"), node.args.get("value")
        if not isinstance(mask, Constant) or not mask.truth or value != -float("inf"):
            return None
        left, before = self._constant(node, mask), self._spread(node, "self")
        if left is None:
            return before
        self.settled.add(node.name)
        return left if before is None else left.merge(before, lambda a, b: a or b)

    def _softens(self, node: Node) -> Left | None:
        left, layout = self._operand(node, "self"), self._values[node.name].layout
        d = int(node.args["dim"]) % len(layout.widths)
        place = cell_places(layout.labels).get(layout.places(d)[0]) if layout.widths[d] == 1 else None
        if left is None or place is None:
            return None
        n = left.shape[place]
        every = left.along(place, [tuple(range(n))] * n, _all, HERE)
        return left.merge(every, lambda a, b: ZERO if a == LOW and b != LOW else HERE)

    def _weighs(self, node: Node) -> Left | None:
        name = "batch1" if "batch1" in node.args else "self"
        left, shape = self._operand(node, name), self._values[node.name].cells.shape
        if left is None or not self._plain_ends(node) or left.shape[:-1] != shape[:-1]:
            return None
        zero = left.map(lambda x: ZERO if x == ZERO else HERE)
        keys = left.shape[-1]
        wide = Field((*shape, keys), zero.values, (*zero.stored[:-1], 1, zero.stored[-1]))
        self.weights[node.name] = Weights(wide, keys)
        return None

    def _attends(self, node: Node) -> Left | None:
        mask = node.args.get("attn_bias") or node.args.get("attn_mask")
        if node.result or not isinstance(mask, Constant) or node.args.get("is_causal") or not self._plain_ends(node):
            return None
        keys = self._keys(node)
        left = self._constant(node, mask, keys)
        if left is not None:
            self.settled.add(node.name)
            shape = self._values[node.name].cells.shape
            wide = Field((*shape, keys), left.values, (*left.stored[:-1], 1, left.stored[-1]))
            self.weights[node.name] = Weights(wide, keys)
        return None

    def _chooses(self, node: Node) -> Left | None:
        mask, low = node.args.get("condition"), -float("inf")
        if not isinstance(mask, Constant) or not mask.truth:
            return None
        for name, when in (("self", 1), ("other", 0)):
            value = node.args.get(name)
            full = isinstance(value, Constant) and not value.truth and value.marks == b"\1" * max(1, prod(value.shape))
            if full or value == low:
                found = self._constant(node, mask, when=when)
                if found is not None:
                    self.settled.add(node.name)
                return found
        return None

    # ---- dimensions ---------------------------------------------------------------------------------------

    def _keys(self, node: Node) -> int:
        value = node.args["key"]
        shape = value.shape if isinstance(value, Constant) else self._shapes[value.node]
        return int(shape[-2])

    def _plain_ends(self, node: Node) -> bool:
        """Whether the last two dimensions of the result are cells, each in one piece."""
        layout = self._values[node.name].layout
        return layout.widths[-2:] == (1, 1) and layout.labels[-2:] == (CELL, CELL)

    def _spread(self, node: Node, name: str) -> Left | None:
        """What is left out of an operand, as it is broadcast; None where that is nothing, or not followed."""
        left, value = self._operand(node, name), self._values[node.name]
        if left is None:
            return None
        data = node.args[name]
        for path in value.paths:
            if path.operand == data.node:
                return path.cells.gather(left, _all, HERE)
        return None

    def _constant(self, node: Node, constant: Constant, keys: int = 0, when: int | None = None) -> Left | None:
        """Where a constant leaves something out of a result, as it is broadcast. keys: its last dimension is of so many
        keys, which the result does not have. when: which marks leave something out; for keys, those of booleans are
        of what stays."""
        if not constant.marks:
            return None
        return _laid_out(constant, self._values[node.name].layout, keys, _marked(constant, keys, when))


def _marked(constant: Constant, keys: int, when: int | None) -> bytes:
    turned = when == 0 or (keys and constant.truth)
    return constant.marks.translate(bytes([1, 0]) + bytes(254)) if turned else constant.marks


def _laid_out(constant: Constant, layout: Factoring, keys: int, marks: bytes) -> Left | None:
    """Marks by cell: what is left out at every sample of the cell."""
    dims = list(range(len(layout.widths)))
    parts: list[tuple[int, bool, int]] = []  # size in the constant, whether it is of cells, the size of that
    shape = list(constant.shape)
    last = [shape.pop()] if keys else []
    if keys:
        dims = dims[:-1]
    if len(shape) > len(dims) or (keys and last[0] not in (1, keys)):
        return None
    lead = dims[: len(dims) - len(shape)]
    for d in dims:
        n = 1 if d in lead else shape[d - len(lead)]
        sizes = [(layout.sizes[i], layout.labels[i] == CELL) for i in layout.places(d)]
        if n != 1 and n != prod(size for size, _ in sizes):
            return None
        parts += [(size if n != 1 else 1, cell, size) for size, cell in sizes]
    if keys:
        parts.append((last[0], True, keys))
    found = marks
    for k in reversed(range(len(parts))):
        if not parts[k][1] and parts[k][0] > 1:
            inner = prod(n for n, cell, _ in parts[k + 1 :] if cell)
            found = _every(found, parts[k][0], inner)
    cells = [(n, size) for n, cell, size in parts if cell]
    values = tuple(LOW if mark else HERE for mark in found)
    return Field(tuple(size for _, size in cells), values, tuple(n for n, _ in cells)).compact()


def _every(marks: bytes, n: int, inner: int) -> bytes:
    """What is marked at all of n places, each followed by so many values."""
    out = []
    for start in range(0, len(marks), n * inner):
        both = -1
        for k in range(n):
            both &= int.from_bytes(marks[start + k * inner : start + (k + 1) * inner], "big")
        out.append(both.to_bytes(inner, "big"))
    return b"".join(out)


def _all(a: int, b: int) -> int:
    """What two samples together are: left out where both are, in the same way."""
    return b if a == NOWHERE else a if b == NOWHERE or a == b else HERE


Way = Callable[[LeftOut, Node], Any]
WAYS: Mapping[Masking, Way] = {
    Masking.MOVES: LeftOut._moves,
    Masking.SCALES: LeftOut._scales,
    Masking.ADDS: LeftOut._adds,
    Masking.FILLS: LeftOut._fills,
    Masking.CHOOSES: LeftOut._chooses,
    Masking.SOFTENS: LeftOut._softens,
    Masking.WEIGHS: LeftOut._weighs,
    Masking.ATTENDS: LeftOut._attends,
}
