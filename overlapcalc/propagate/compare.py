"""Does the net mean the same at other sizes? Two traces, some steps apart, compared call by call.

A finite receptive field is not enough for running by blocks: padding, resampling or a constant may be computed
from the image's size. Such a net looks innocent at any one size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..algebra.reshape import CELL, LOST, Reshape
from ..ops import find, plain_name
from ..ops.graph import CUT, JOIN, STEP_OF, Constant, Data, Graph, Node
from ..ops.place import constants_at, place_of
from .values import Propagation, Since, joined

Differing = dict[str, dict[str, str]]
"""Node -> axis -> the difference there."""
Moved = Mapping[str, Mapping[str, int]]
"""Node -> axis -> how many samples longer its tensor must get if the net is the same at both sizes."""


def differences(
    small: Propagation, large: Propagation, moved: Moved, *, refused_in: Propagation | None = None
) -> Differing:
    """What differs between the net at its size and at a larger one, and along which axes that forbids blocks.

    Everything is compared: operators and what they read, arguments, constants, the length of every dimension. A
    difference may come from any of the axes that are longer there, so it counts against all of them, except those along
    which the tensor is refused already in `refused_in`, the net of the two that is asked about (by default `small`).
    """
    asked = refused_in or small
    grown = {axis for axes in moved.values() for axis, n in axes.items() if n}
    ops = [[_computes(n) for n in p.graph] for p in (small, large)]
    place = [{name: i for i, name in enumerate(p.graph.order)} for p in (small, large)]
    outputs = [
        [(shown, at[node]) for shown, node in p.graph.outputs] for p, at in zip((small, large), place, strict=True)
    ]
    if ops[0] != ops[1] or outputs[0] != outputs[1]:
        return _other_operators(small, large, grown)
    out: Differing = {}
    passed: set[tuple[str, str]] = set()
    marked: set[tuple[str, str]] = set()
    for a, b, here in zip(small.graph, large.graph, asked.graph.order, strict=True):
        if a.op == "input":
            continue
        texts = []
        for axis in _axes(small, a.name):
            text = _along(small, large, a, b, axis, moved)
            if text and not _only_passes_on(small, a, axis, passed):
                texts.append(text)
            if text:
                passed.add((a.name, axis))
        texts += [*scalars(a, b, place[0], place[1]), *_constants(small, a, b, grown), *_cells(small, large, a, b)]
        if texts:
            for axis in grown - _refused(asked, here):
                if not _only_passes_on(small, a, axis, marked):
                    for name in _where_met(small, a.name, axis):
                        out.setdefault(name, {}).setdefault(axis, texts[0])
                marked.add((a.name, axis))
    return out


def _refused(net: Propagation, name: str) -> set[str]:
    """The axes along which everything that a tensor reads is refused."""
    seen: dict[str, list[bool]] = {}
    for (_, axis), reads in zip(net.slots, joined(net, name), strict=True):
        if reads:
            seen.setdefault(axis, []).append(any(o.axis == axis for o in reads.via))
    return {axis for axis, refused in seen.items() if all(refused)}


def _where_met(net: Propagation, name: str, axis: str) -> list[str]:
    """The nodes at which a difference counts along an axis: the node itself, or where its result meets that axis."""
    met, seen, todo = [], {name}, [name]
    while todo:
        at = todo.pop()
        if axis in _axes(net, at):
            met.append(at)
            continue
        further = [n for n in net.graph.readers(at) if n not in seen]
        seen.update(further)
        todo += further
    return met


def adopted(small: Graph, large: Graph) -> Graph:
    """The smaller graph with what the larger one knows about their constants, wherever the values bear it out.

    On 4 samples, a constant of period 3 does not show its period.
    """
    args = {}
    for a, b in zip(small, large, strict=False):
        if a.op == b.op:
            args[a.name] = {k: _adopted(v, b.args.get(k)) for k, v in a.args.items()}
    return small.with_args(args)


def views_of(large: Propagation, small: Graph) -> dict[str, Reshape]:
    """How the views of a net were understood at another size, by the names that its nodes have at this one."""
    pairs = zip(large.traced, small, strict=False)
    seen = {b.name: large.values[a.name].view for a, b in pairs if plain_name(a) == plain_name(b)}
    return {name: view for name, view in seen.items() if view is not None}


def _adopted(small: Any, large: Any) -> Any:
    if isinstance(small, tuple) and isinstance(large, tuple) and len(small) == len(large):
        return tuple(_adopted(a, b) for a, b in zip(small, large, strict=True))
    if not isinstance(small, Constant) or not isinstance(large, Constant) or len(small.shape) != len(large.shape):
        return small
    if small.shape == large.shape:
        return small  # it knows as much, and its values may differ
    for d, (n, m) in enumerate(zip(small.shape, large.shape, strict=True)):
        q = large.variation[d] if d < len(large.variation) else None
        if n == m:
            continue
        if not q or len(small.rows) <= d or len(large.rows) <= d or not small.rows[d] or not large.rows[d]:
            return small
        if any(row != large.rows[d][i % q] for i, row in enumerate(small.rows[d])):
            return small
    return replace(large, shape=small.shape)


def _computes(node: Node) -> tuple[str, int]:
    """The operator, and which of its results. Spellings of an operator count as one: torch chooses among those of
    a view by size."""
    return plain_name(node), node.result


def _other_operators(small: Propagation, large: Propagation, grown: set[str]) -> Differing:
    """The operators themselves change, or which of them are outputs: blame the first, and refuse every output."""
    first = next(
        (a for a, b in zip(small.graph, large.graph, strict=False) if _computes(a) != _computes(b)),
        None,
    )
    last = small.graph[small.graph.order[-1]]
    where = first or last
    at = f", {where.source}" if where.source else ""
    text = f"the net runs other operators at other image sizes, from {small.names.get(where.name, where.name)}{at} on"
    blamed = {name for _, name in small.graph.outputs} | {where.name}
    said = Since(text, where.name)
    return {name: {axis: said for axis in _axes(small, name) if axis in grown} for name in blamed}


def _axes(net: Propagation, name: str) -> list[str]:
    """The axes of the tensor or of an operand, along which a difference can matter."""
    return sorted(
        {label for label in net.values[name].labels if label not in (CELL, LOST)} | set(_operand_axes(net, name))
    )


def _operand_axes(net: Propagation, name: str) -> list[str]:
    operands = net.graph[name].operands
    return sorted({label for o in operands for label in net.values[o].labels if label not in (CELL, LOST)})


def _only_passes_on(net: Propagation, node: Node, axis: str, differing: set[tuple[str, str]]) -> bool:
    """Whether every operand along an axis differs there already: then the node adds no difference of its own."""
    along = [o for o in node.operands if axis in net.values[o].labels]
    return bool(along) and all((o, axis) in differing for o in along)


def _along(
    small: Propagation, large: Propagation, a: Node, b: Node, axis: str, moved: Mapping[str, Mapping[str, int]]
) -> str:
    """How the node differs along one axis; empty if it does not."""
    if a.op in (CUT, JOIN) and axis != small.values[a.name].labels[a.args["dim"]]:
        return ""
    if a.op == CUT and a.args["piece"] != b.args["piece"]:
        pieces = f"{a.args['piece']} samples, then {b.args['piece']}"
        return f"cuts the axis into pieces whose length depends on the size of the image ({pieces})"
    before, after = small.size(a.name, axis), large.size(b.name, axis)
    more = moved.get(a.name, {}).get(axis)
    if before is not None and after is not None and more is not None and after != before + more:
        return f"its length does not follow the image's: {before}, then {after} where {before + more} would follow"
    read = [
        [p.axes[axis] if axis in p.axes else p.obstructed[axis].cause if axis in p.obstructed else None
         for p in net.values[node.name].paths]
        for net, node in ((small, a), (large, b))
    ]  # fmt: skip
    if read[0] != read[1]:
        return "what it reads depends on the size of the image"
    return ""


def scalars(a: Node, b: Node, place_a: Mapping[str, int], place_b: Mapping[str, int]) -> Iterator[str]:
    """Arguments that differ and that no law accounts for."""
    rule = find(a.op)
    for name, value in a.args.items():
        if name == STEP_OF or (rule is not None and name in rule.sizes):
            continue
        x, y = _plain(value, place_a), _plain(b.args.get(name), place_b)
        if not _same(x, y):
            yield f"its argument {name} depends on the size of the image ({_shown(x)}, then {_shown(y)})"
    if a.shape != b.shape and len(a.shape) != len(b.shape):
        yield "its number of dimensions depends on the size of the image"


def _cells(small: Propagation, large: Propagation, a: Node, b: Node) -> Iterator[str]:
    """How the dimensions that are not axes differ: their lengths, and what is read along them."""
    mine, other = small.values[a.name], large.values[b.name]
    if mine.law.period != other.law.period:
        yield "a constant's period depends on the size of the image"
    layouts = mine.layout, other.layout
    if (layouts[0].labels, layouts[0].widths) != (layouts[1].labels, layouts[1].widths):
        yield "how its dimensions are laid out depends on the size of the image"
        return
    for p, q in zip(layouts[0].parts, layouts[1].parts, strict=True):
        if not p.is_axis and p.size != q.size:
            yield f"a dimension that is no axis follows the image's size: {p.size} long, then {q.size}"
            return
    if [path.cells for path in mine.paths] != [path.cells for path in other.paths]:
        yield "which channels it reads depends on the size of the image"


def _constants(net: Propagation, a: Node, b: Node, grown: set[str]) -> Iterator[str]:
    """Constant operands that differ at the larger size; along an axis they may be longer and continue."""
    value = net.values[a.name]
    others = dict(constants_at(b.args))
    for at, x in constants_at(a.args):
        y = others.get(at)
        if at[0] in value.law.unread or y is None:  # where it is no constant there, the arguments differ already
            continue
        place = place_of(value.law, at)
        along = {s: set(value.layout.axes_of(d)) & grown for s, d in place.targets} if place else {}
        if _same_constant(x, y, {s for s, axes in along.items() if axes}):
            continue
        name = at[0] if at[1] is None else f"{at[0]}[{at[1]}]"
        shapes = "x".join(map(str, x.shape)), "x".join(map(str, y.shape))
        sizes = f" ({shapes[0]}, then {shapes[1]})" if x.shape != y.shape else ""
        yield f"its constant {name} depends on the size of the image{sizes}"


def _same_constant(x: Constant, y: Constant, long: set[int]) -> bool:
    """Whether y is x, continued in the dimensions `long`."""
    if len(x.shape) != len(y.shape) or (x.random, x.taps) != (y.random, y.taps):
        return False
    if any(n != m for s, (n, m) in enumerate(zip(x.shape, y.shape, strict=True)) if s not in long):
        return False
    if (x.variation, x.borders, x.digest) == (y.variation, y.borders, y.digest):
        return True
    restless = [s for s in long if s < len(x.variation) and x.variation[s] is None and x.shape[s] > 1]
    if len(restless) != 1 or any(x.shape[s] != y.shape[s] for s in long if s not in restless):
        return False
    (s,) = restless  # it varies from position to position: is it the same at the positions of both sizes?
    rows = [c.rows[s] if s < len(c.rows) else () for c in (x, y)]
    both = min(map(len, rows))
    return both > 0 and rows[0][:both] == rows[1][:both]


def _plain(value: Any, place: Mapping[str, int]) -> Any:
    """A form that two traces can compare: nodes by position, constants by what is known about them."""
    if isinstance(value, Data):
        return ("node", place[value.node])
    if isinstance(value, Constant):
        return value
    if isinstance(value, tuple):
        return tuple(_plain(v, place) for v in value)
    return value


def _same(x: Any, y: Any) -> bool:
    if isinstance(x, Constant) and isinstance(y, Constant):
        return True  # see _constants
    if isinstance(x, tuple) and isinstance(y, tuple):
        return len(x) == len(y) and all(_same(a, b) for a, b in zip(x, y, strict=True))
    return bool(x == y) or (isinstance(x, float) and isinstance(y, float) and x != x and y != y)


def _shown(value: Any) -> str:
    return "a constant" if isinstance(value, Constant) else str(value)
