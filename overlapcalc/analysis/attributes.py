"""The figures of a call: kernel, stride, padding and so on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..ops import kind_of, short_name
from ..ops.graph import CUT, JOIN, Constant, Node
from ..ops.kind import CONVOLUTIONS, WINDOWED

SHOWN = {
    "kernel_size": "kernel",
    "stride": "stride",
    "padding": "padding",
    "output_padding": "output_padding",
    "dilation": "dilation",
    "groups": "groups",
    "pad": "pad",
    "mode": "mode",
    "upscale_factor": "factor",
    "downscale_factor": "factor",
    "scale_factors": "factor",
    "output_size": "size",
    "ceil_mode": "ceil_mode",
    "align_corners": "align_corners",
    "dim": "dim",
    "start": "start",
    "end": "end",
    "step": "step",
}
DEFAULTS: dict[str, Iterable[Any]] = {
    "padding": (0,),
    "output_padding": (0,),
    "dilation": (1,),
    "groups": (1,),
    "stride": (1, None),
    "ceil_mode": (False, None),
    "align_corners": (False, None),
    "mode": ("constant",),
    "step": (1,),
}
TO_THE_END = 1 << 62


@dataclass(frozen=True)
class Called:
    """A call of an operator, as the table shows it. layer: its module path. detail: its figures, such as the kernel.
    source: "file:line" or ""."""

    layer: str
    op: str
    detail: Mapping[str, Any]
    source: str

    def to_dict(self) -> dict[str, Any]:
        return {"layer": self.layer, "op": self.op, "detail": plain(self.detail), "source": self.source}


def detail(node: Node) -> dict[str, Any]:
    """The figures of a call, under plain names; torch's default values are left out."""
    out: dict[str, Any] = {}
    if node.op in (CUT, JOIN):
        return {short_name(node.op): node.args["piece"]}
    weight = node.args.get("weight")
    kind = kind_of(node)
    if isinstance(weight, Constant) and kind in CONVOLUTIONS:
        out["kernel"] = _short(weight.shape[2:])
        if weight.taps is not None:
            out["masked"] = True
    for name, shown in SHOWN.items():
        if name not in node.args:
            continue
        value = _short(node.args[name])
        if value is None or value == () or value in DEFAULTS.get(shown, ()):
            continue
        if shown == "end" and isinstance(value, int) and value >= TO_THE_END:
            continue
        out.setdefault(shown, value)
    if "kernel" not in out and kind not in WINDOWED:
        out.pop("stride", None)
    return out


def _short(value: Any) -> Any:
    """One number instead of a list of equal ones.

    >>> _short((2, 2)), _short((3, 5))
    (2, (3, 5))
    """
    if isinstance(value, tuple):
        if len(value) and all(isinstance(v, (int, float)) and v == value[0] for v in value):
            return value[0]
        return value
    return value if isinstance(value, (int, float, str, bool, type(None))) else None


def plain(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The figures as plain data for JSON."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in figures.items()}
