"""Laws and links in terms of the parts of tensors: views taken apart, dimensions of several parts spelled out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..algebra.index_map import IndexMap
from ..algebra.reshape import Factoring, Part, Reshape
from ..ops.graph import CUT, JOIN, REGROUP, STEP_OF, Data, Node
from ..ops.law import Cause, CellReads, DimRead, Law, Link, Obstruction

DROPPED = Obstruction(Cause.SELECTION, "drops the axis, one sample long")
TORN = Obstruction(Cause.RESHAPE, "merges or splits the axis with a view that cannot be followed")
LAID_TOGETHER = Obstruction(Cause.RESHAPE, "works along a dimension into which a view laid several axes")
JOINT_OUTPUT = Obstruction(Cause.RESHAPE, "gives an output with the axis laid into one dimension with others")
ELSEWHERE = Obstruction(Cause.POSITION, "joins data that is not laid out along the axis")


@dataclass(frozen=True)
class ViewStep:
    """One step of a view: a node, its links in terms of parts (None: those of its rule), and its layout."""

    node: Node
    links: tuple[Link, ...] | None
    layout: Factoring


def view_steps(node: Node, layout: Factoring, found: Reshape) -> Iterator[ViewStep]:
    """A view of a tensor of this layout, step by step; the last step is the node itself."""
    at = node.operands[0]
    parts = list(layout.parts)
    made = 0

    def step(op: str, args: dict[str, Any], links: tuple[Link, ...] | None) -> ViewStep:
        nonlocal at, made
        sizes = tuple(p.size for p in parts)
        name = f"{node.name}/{made}"
        new = replace(
            node, name=name, op=op, args={"self": Data(at), STEP_OF: node.op, **args}, shape=sizes, pointwise=False
        )
        at, made = name, made + 1
        return ViewStep(new, links, Factoring(tuple(parts), (1,) * len(parts)))

    for i, piece in found.cuts:
        parts[i : i + 1] = [replace(parts[i], size=parts[i].size // piece), Part(piece)]
        yield step(CUT, {"dim": i, "piece": piece}, None)
    link = _regroup(parts, found)
    if found.joins:
        parts = list(found.between)
        yield step(REGROUP, {}, (link,))
        for i in found.joins:
            piece = parts[i + 1].size
            parts[i : i + 2] = [replace(parts[i], size=parts[i].size * piece)]
            yield step(JOIN, {"dim": i, "piece": piece}, None)
        link = Link(0, tuple(DimRead(i, i, IndexMap.identity()) for i in range(len(parts))))
    if made:
        node = replace(node, args={k: Data(at) if isinstance(v, Data) else v for k, v in node.args.items()})
    yield ViewStep(node, (link,), found.after)


def _regroup(parts: Sequence[Part], found: Reshape) -> Link:
    """Axes stay in order; cells correspond in row-major order, unless something was torn apart."""
    dims: list[DimRead] = []
    kept = dict(found.kept)
    for i, part in enumerate(parts):
        if i in found.torn:
            dims.append(DimRead(i, None, None, obstruction=TORN))
        elif i in kept:
            dims.append(DimRead(i, kept[i], IndexMap.identity()))
        else:
            dims.append(DimRead(i, None, IndexMap.identity(), obstruction=DROPPED if part.is_axis else None))
    met = {d.target for d in dims}
    dims += [DimRead(None, t) for t in range(len(found.between)) if t not in met]
    if found.torn:
        return Link(0, tuple(dims), cells=CellReads.COLLAPSE, exact=False)
    return Link(0, tuple(dims), cells=CellReads.REGROUP)


def out_parts(links: Sequence[Link], operands: Sequence[Factoring], shape: Sequence[int]) -> list[list[int]]:
    """The part sizes of each dimension of an operator's output: those of an operand dimension that is kept as it is."""
    found = [[n] for n in shape]
    for link in links:
        layout = operands[link.operand]
        for dim in link.dims:
            if dim.source is None or dim.target is None or dim.reads != IndexMap.identity():
                continue
            sizes = [layout.sizes[i] for i in layout.places(dim.source)]
            if len(sizes) > 1 and len(found[dim.target]) == 1 and _product(sizes) == shape[dim.target]:
                found[dim.target] = sizes
    return found


def spelled(link: Link, layout: Factoring, out: Factoring) -> tuple[Link, dict[str, Obstruction]]:
    """A rule's link in terms of parts, and the axes of the output that it joins with data laid out differently.

    `out` has the parts of the output, labelled as index-by-index links label them.
    """
    dims: list[DimRead] = []
    exact = link.exact
    astray: dict[str, Obstruction] = {}
    for dim in link.dims:
        sources = layout.places(dim.source) if dim.source is not None else range(0)
        targets = out.places(dim.target) if dim.target is not None else range(0)
        if len(sources) <= 1 and len(targets) <= 1:
            source, target = next(iter(sources), None), next(iter(targets), None)
            dims.append(replace(dim, source=source, target=target))
            continue
        here, there = [layout.parts[i] for i in sources], [out.parts[i] for i in targets]
        if dim.reads == IndexMap.identity() and [p.size for p in here] == [p.size for p in there]:
            dims += [replace(dim, source=s, target=t) for s, t in zip(sources, targets, strict=True)]
            continue
        why = dim.obstruction or (LAID_TOGETHER if dim.reads is not None else None)
        dims += [DimRead(s, None, None, obstruction=why) for s in sources]
        dims += [DimRead(None, t) for t in targets]
        exact = exact and (dim.reads is None or dim.source is None)
        if _product([p.size for p in here]) > 1:
            axes = {p.label for p in there if p.is_axis} - {p.label for p in here}
            astray.update(dict.fromkeys(axes, ELSEWHERE))
    return replace(link, dims=tuple(dims), exact=exact), astray


def spelled_law(law: Law, out: Factoring) -> Law:
    """Periods, margins and obstructions of a law in terms of the parts of the output."""
    period: list[tuple[int, int]] = []
    margins: list[tuple[int, int, int]] = []
    obstructions: list[tuple[int, Obstruction]] = []
    for d, q in law.period:
        places = out.places(d)
        if len(places) == 1:
            period.append((places[0], q))
        else:
            obstructions += [(i, LAID_TOGETHER) for i in places]
    for d, before, after in law.margins:
        places = out.places(d)
        if len(places) == 1:
            margins.append((places[0], before, after))
        else:
            obstructions += [(i, LAID_TOGETHER) for i in places]
    obstructions += [(i, why) for d, why in law.obstructions for i in out.places(d)]
    return replace(law, period=tuple(period), obstructions=tuple(obstructions), margins=tuple(margins))


def _product(sizes: Sequence[int]) -> int:
    out = 1
    for n in sizes:
        out *= n
    return out
