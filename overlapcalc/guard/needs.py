"""What a net needs as plain figures: what a lock holds.

Only what the architecture says: no weights, no lines, no versions, no paths of files, no names of variables. Inputs and
outputs go by their place, layers by their module's path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..analysis import Analysis, Pair
from ..detail import plain
from ..layers import LayerRow
from ..layout import DEFAULTS

Figure = int | str | bool | tuple[str, ...]
Place = tuple[str, str, str]
"""An output, an input and an axis: ("output", "input", "W"); numbered where there are several."""


@dataclass(frozen=True)
class Needs:
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
    def from_dict(data: Mapping[str, Any]) -> Needs:
        """The inverse of `to_dict`."""
        places = {
            (output, input, axis): _tupled(figures)
            for output, inputs in data["places"].items()
            for input, axes in inputs.items()
            for axis, figures in axes.items()
        }
        return Needs(_tupled(data["net"]), places, data["layers"])


def _listed(figures: Mapping[str, Figure]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in figures.items()}


def _tupled(figures: Mapping[str, Any]) -> dict[str, Figure]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in figures.items()}


def needs_of(analysis: Analysis) -> Needs:
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
    places = {
        (outputs[pair.output], inputs[pair.input], axis): _figures(pair, axis)
        for pair in analysis.pairs
        for axis in pair.axes
    }
    return Needs(net, places, {row.name: _layer(row) for row in analysis.layers})


def _placed(word: str, names: list[str]) -> dict[str, str]:
    return {name: word if len(names) == 1 else f"{word}{place}" for place, name in enumerate(names)}


def _figures(pair: Pair, axis: str) -> dict[str, Figure]:
    obstacles = pair.obstacles(axis)
    if obstacles:
        return {"obstacles": tuple(dict.fromkeys(f"{o.layer}: {_word(o.op)} ({o.cause})" for o in obstacles))}
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


def _layer(row: LayerRow) -> dict[str, Any]:
    figures = plain(row.detail)
    return {"op": _word(row.op), **{name: _number(figures[name]) for name in sorted(figures)}}


def _word(op: str) -> str:
    """`conv2d` of `aten::conv2d`."""
    return op.partition("::")[2].lstrip("_") or op


def _number(value: Any) -> Any:
    """A whole number is written as one: versions of torch differ in whether a factor is 2 or 2.0."""
    if isinstance(value, list):
        return [_number(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
