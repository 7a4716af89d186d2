"""What a net needs, as plain figures: the content of a lock.

Only what follows from the architecture: no weights, no lines, no versions, no file paths, no variable names. Inputs and
outputs are numbered, layers go by their module's path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Figure = int | str | bool | tuple[str, ...]
PairAxis = tuple[str, str, str]
"""An output, an input and an axis: ("output", "input", "W"); numbered where there are several."""


@dataclass(frozen=True)
class Requirements:
    """net: figures of the whole net. places: figures of an output against an input along an axis. layers: module path
    -> operator and its figures, for the layers that are rows of the table."""

    net: Mapping[str, Figure]
    places: Mapping[PairAxis, Mapping[str, Figure]]
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
