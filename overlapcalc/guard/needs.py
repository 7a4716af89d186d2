"""What a net needs, from its analysis."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ..analysis.analysis import Analysis
from ..analysis.attributes import plain
from ..analysis.layers import LayerRow
from ..analysis.pair import Pair
from ..errors import InputError
from ..ops import plain_name, short_name
from ..ops.graph import Node
from ..ops.layout import DEFAULTS
from .requirements import Figure, Requirements


def needs_of(analysis: Analysis) -> Requirements:
    """The figures of an analysis.

    >>> found = needs_of(oc.analyze(nn.Conv1d(3, 8, 5, padding=2), (1, 3, 32)))
    >>> found.places["output", "input", "L"]["context.before"]
    2
    """
    inputs = _placed("input", list(analysis.inputs))
    outputs = _placed("output", list(analysis.outputs))
    net: dict[str, Figure] = {
        "blocking-free": analysis.blocking_free,
        "input": tuple("x".join(map(str, shape)) for shape in analysis.inputs.values()),
        "size-verified": analysis.size_verified,
    }
    layouts = tuple(analysis.layouts.values())
    if any(layout not in DEFAULTS for layout in layouts):
        net["layout"] = layouts
    cones = tuple(_cones(analysis))
    if cones:
        net["cone"] = cones
    names = _names(analysis)
    places = {
        (outputs[pair.output], inputs[pair.input], axis): {
            **_figures(pair, axis, names),
            **_beside(pair, axis),
        }
        for pair in analysis.pairs
        for axis in pair.axes
    }
    layers = {names[row.name]: {"op": _word(node), **_detail(row)} for row, node in _rows(analysis)}
    return Requirements(net, places, layers)


def _cones(analysis: Analysis) -> Iterator[str]:
    """Cones that are smaller than the product of their axes, row by row: `output against input: ### #@.`."""
    for pair in analysis.pairs:
        if len(pair.axes) < 2 or any(pair.obstacles(axis) for axis in pair.axes):
            continue
        try:
            cone = pair.cone()
        except InputError:  # there are no cells of both
            continue
        if cone.smaller:
            drawn = " ".join(cone.drawing) if cone.area.count <= MOST_DRAWN else f"{cone.area.count} cells"
            yield f"{pair.output} against {pair.input}: {'' if cone.exact else 'at most '}{drawn}"


MOST_DRAWN = 200
"""A cone of more cells is told by their number."""


def _rows(analysis: Analysis) -> list[tuple[LayerRow, Node]]:
    """The rows of the table with their nodes."""
    net = analysis.variants.net
    nodes = {net.names[node.name]: node for node in net.traced if node.name in net.names}
    return [(row, nodes[row.name]) for row in analysis.layers]


def _names(analysis: Analysis) -> dict[str, str]:
    """What a lock calls each row: its module's path, followed by the operator's word where the module has several.

    As in the table, except for operators whose name depends on the version of torch.
    """
    seen: Counter[str] = Counter()
    names = {}
    for row, node in _rows(analysis):
        plain = re.sub(r"#[0-9]+$", "", row.name)
        if not (node.leaf and plain == node.layer):
            plain = f"{node.layer}.{_word(node)}" if node.layer else _word(node)
        seen[plain] += 1
        names[row.name] = plain if seen[plain] == 1 else f"{plain}#{seen[plain]}"
    return names


def _word(node: Node) -> str:
    """`conv2d` for both `aten::conv2d` and `aten::convolution`: one call, by whichever name a version of torch has."""
    return short_name(plain_name(node))


def _placed(word: str, names: list[str]) -> dict[str, str]:
    return {name: word if len(names) == 1 else f"{word}{place}" for place, name in enumerate(names)}


def _figures(pair: Pair, axis: str, names: Mapping[str, str]) -> dict[str, Figure]:
    obstacles = pair.obstacles(axis)
    if obstacles:
        one_sided = pair.one_sided(axis)
        ahead: dict[str, Figure] = {} if one_sided is None else {"look-ahead": one_sided.look_ahead}
        named = tuple(dict.fromkeys(f"{names.get(o.layer, o.layer)}: {o.cause}" for o in obstacles))
        return {"obstacles": named, **ahead}
    found = pair[axis]
    out: dict[str, Figure] = {"step": found.step}
    if found.out_step is not None:
        out["out-step"] = found.out_step
    if found.scale is not None:
        out["scale"] = str(found.scale)
    for word, sides in (("context", found.context), ("tile", found.tile)):
        if sides is None:
            out[word] = "nothing"
        else:
            out[f"{word}.before"], out[f"{word}.after"] = sides.before, sides.after
    out["receptive-field.min"], out["receptive-field.max"] = found.receptive_field
    out["exact"] = found.exact
    return out


def _beside(pair: Pair, axis: str) -> dict[str, Figure]:
    """What remains beside obstacles, so that a wider kernel is seen in a net that has some."""
    if not pair.obstacles(axis):
        return {}
    found = pair.local[axis]
    if found is None or found.context is None:
        return {}
    return {"beside.before": found.context.before, "beside.after": found.context.after, "beside.step": found.step}


def _detail(row: LayerRow) -> dict[str, Any]:
    figures = plain(row.detail)
    return {name: _number(figures[name]) for name in sorted(figures)}


def _number(value: Any) -> Any:
    """A whole number is written as an integer: versions of torch differ in whether a factor is 2 or 2.0."""
    if isinstance(value, list):
        return [_number(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
