"""An Analysis as plain data for JSON; fractions as "1/16"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .pair import Pair

if TYPE_CHECKING:
    from .analysis import Analysis

SCHEMA_VERSION = 1
JSON = (bool, int, float, str)


def plain(analysis: Analysis) -> dict[str, Any]:
    """Everything that an analysis answers."""
    features = analysis.features
    return {
        "schema_version": SCHEMA_VERSION,
        "inputs": _shapes(analysis.inputs),
        **({"fixed": as_json(analysis.fixed)} if analysis.fixed else {}),
        "layouts": dict(analysis.layouts),
        "outputs": _shapes(analysis.outputs),
        "axes": list(analysis.axes),
        "blocking_free": analysis.blocking_free,
        "size_verified": analysis.size_verified,
        "verified_at": _verified(analysis),
        "obstacles": [o.to_dict() for o in analysis.obstacles],
        "classes": [c.to_dict() for c in analysis.classes],
        "runs": {axis: found.to_dict() for axis, found in analysis.runs.items()},
        "grid": _grid(analysis),
        "pairs": [_pair(pair) for pair in analysis.pairs],
        "features": None if features is analysis else _part(features),
        "layers": [row.to_dict() for row in analysis.layers],
    }


def as_json(fixed: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON has as it is, anything else as Python writes it.

    >>> as_json({"scale": 2, "dtype": torch.float16})
    {'scale': 2, 'dtype': 'torch.float16'}
    """
    return {name: value if value is None or isinstance(value, JSON) else repr(value) for name, value in fixed.items()}


def fixed_text(fixed: Mapping[str, Any]) -> str:
    """For people.

    >>> fixed_text({"scale": 2, "mask": None})
    'scale=2, mask=None'
    """
    return ", ".join(f"{name}={value!r}" for name, value in fixed.items())


def _part(analysis: Analysis) -> dict[str, Any]:
    return {
        "outputs": _shapes(analysis.outputs),
        "size_verified": analysis.size_verified,
        "verified_at": _verified(analysis),
        "grid": _grid(analysis),
        "pairs": [_pair(pair) for pair in analysis.pairs],
    }


def _shapes(named: Any) -> dict[str, list[int]]:
    return {name: list(shape) for name, shape in named.items()}


def _verified(analysis: Analysis) -> list[list[int]] | None:
    return None if analysis.verified_at is None else [list(s) for s in analysis.verified_at]


def _grid(analysis: Analysis) -> dict[str, Any]:
    return {axis: {"step": dict(g.step), "out_step": dict(g.out_step)} for axis, g in analysis.grid.items()}


def _pair(pair: Pair) -> dict[str, Any]:
    axes: dict[str, Any] = {}
    for axis in pair.axes:
        obstacles = pair.obstacles(axis)
        if obstacles:
            local, one_sided = pair.local[axis], pair.one_sided(axis)
            axes[axis] = {
                "obstacles": [o.to_dict() for o in obstacles],
                "local": None if local is None else local.to_dict(),
                "one_sided": None if one_sided is None else one_sided.to_dict(),
            }
        else:
            axes[axis] = pair[axis].to_dict()
    return {"output": pair.output, "input": pair.input, "axes": axes}
