"""What a net needs as plain figures: what a lock holds.

Only what the architecture says: no weights, no lines, no versions, no paths of files, no names of variables. Inputs and
outputs go by their place, layers by their module's path.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..analysis.analysis import Analysis, Pair
from ..analysis.attributes import plain
from ..analysis.labels import short_op
from ..analysis.layers import LayerRow
from ..ops.graph import Constant, Node
from ..ops.layout import DEFAULTS

Figure = int | str | bool | tuple[str, ...]
Place = tuple[str, str, str]
"""An output, an input and an axis: ("output", "input", "W"); numbered where there are several."""


@dataclass(frozen=True)
class Requirements:
    """net: figures of the whole. places: figures of an output against an input along an axis. layers: module path ->
    operator and its figures, for the layers that are rows of the table."""

    net: Mapping[str, Figure]
    places: Mapping[Place, Mapping[str, Figure]]
    layers: Mapping[str, Mapping[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        places: dict[str, Any] = {}
        for (output, input, axis), figures in self.places.items():
            places.setdefault(output, {}).setdefault(input, {})[axis] = _listed(figures)
        return {"net": _listed(self.net), "places": places, "layers": {k: dict(v) for k, v in self.layers.items()}}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Requirements:
        """The inverse of `to_dict`."""
        places = {
            (output, input, axis): _tupled(figures)
            for output, inputs in data["places"].items()
            for input, axes in inputs.items()
            for axis, figures in axes.items()
        }
        return Requirements(_tupled(data["net"]), places, data["layers"])


def _listed(figures: Mapping[str, Figure]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in figures.items()}


def _tupled(figures: Mapping[str, Any]) -> dict[str, Figure]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in figures.items()}


def needs_of(analysis: Analysis) -> Requirements:
    """The figures of an analysis."""
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
    names = _names(analysis)
    places = {
        (outputs[pair.output], inputs[pair.input], axis): _figures(pair, axis, names)
        for pair in analysis.pairs
        for axis in pair.axes
    }
    layers = {names[row.name]: {"op": _word(node), **_detail(row)} for row, node in _rows(analysis)}
    return Requirements(net, places, layers)


def _rows(analysis: Analysis) -> list[tuple[LayerRow, Node]]:
    """The rows of the table with their nodes."""
    net = analysis.source.net
    nodes = {net.names[node.name]: node for node in net.traced if node.name in net.names}
    return [(row, nodes[row.name]) for row in analysis.layers]


def _names(analysis: Analysis) -> dict[str, str]:
    """What a lock calls each row: its module's path, with the operator's word where the module has several.

    As in the table, but for operators that versions of torch call otherwise.
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
    """`conv2d` of `aten::conv2d` and of `aten::convolution`: the same call, whatever a version of torch makes of it."""
    word = short_op(node).removesuffix("_copy").removesuffix("_with_indices")
    weight = node.args.get("weight")
    if word == "convolution" and isinstance(weight, Constant):
        word = f"conv{'_transpose' if node.args.get('transposed') else ''}{len(weight.shape) - 2}d"
    return "reshape" if word in ("view", "unsafe_view", "reshape_alias") else word


def _placed(word: str, names: list[str]) -> dict[str, str]:
    return {name: word if len(names) == 1 else f"{word}{place}" for place, name in enumerate(names)}


def _figures(pair: Pair, axis: str, names: Mapping[str, str]) -> dict[str, Figure]:
    obstacles = pair.obstacles(axis)
    if obstacles:
        return {"obstacles": tuple(dict.fromkeys(f"{names.get(o.layer, o.layer)}: {o.cause}" for o in obstacles))}
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


def _detail(row: LayerRow) -> dict[str, Any]:
    figures = plain(row.detail)
    return {name: _number(figures[name]) for name in sorted(figures)}


def _number(value: Any) -> Any:
    """A whole number is written as one: versions of torch differ in whether a factor is 2 or 2.0."""
    if isinstance(value, list):
        return [_number(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
