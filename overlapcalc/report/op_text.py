"""Calls in few letters: `tconv k5 s2 p2 op1`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..analysis.analysis import Analysis
from ..analysis.layers import LayerRow
from ..analysis.plain import fixed_text
from ..ops import Kind, known_of, word_of
from ..ops.layout import DEFAULTS


def what(row: LayerRow) -> str:
    """What a row does, in few letters.

    >>> what(oc.analyze(nn.Conv1d(3, 8, 5, stride=2, padding=2), (1, 3, 32)).layers[0])
    'conv k5 s2 p2'
    """
    return call_words(row.op, row.detail)


def call_words(op: str, detail: Mapping[str, Any]) -> str:
    """A call of an operator with its figures, in few letters."""
    figures = dict(detail)
    if known_of(op).kind is Kind.CONCATENATION:
        figures.pop("dim", None)
    mode = figures.pop("mode", None)
    return " ".join(str(part) for part in (mode, word_of(op), detail_text(figures)) if part)


LETTERS: Mapping[str, str] = {
    "kernel": "k", "stride": "s", "padding": "p", "output_padding": "op", "dilation": "d", "groups": "g",
    "factor": "x",
}  # fmt: skip


def detail_text(figures: Mapping[str, Any]) -> str:
    """One letter per figure, values per axis joined with x.

    >>> detail_text({"kernel": (3, 5), "stride": 2})
    'k3x5 s2'
    """
    parts = []
    for name, value in figures.items():
        if name == "masked":
            parts.append("masked")
        elif value is True:
            parts.append(name)
        else:
            listed = isinstance(value, (tuple, list))
            text = ("," if name == "pad" else "x").join(map(_number, value)) if listed else _number(value)
            parts.append(text if name == "pad" else LETTERS[name] + text if name in LETTERS else f"{name} {text}")
    return " ".join(parts)


def inputs_text(analysis: Analysis) -> str:
    """`x 1x3x64x64`, followed by the layout of an input where it is not the default."""
    parts = []
    for name, shape in analysis.inputs.items():
        layout = analysis.layouts[name]
        parts.append(f"{name} {shape_text(shape)}" + ("" if layout in DEFAULTS else f" ({layout})"))
    return ", ".join(parts) + with_text(analysis.fixed)


def with_text(fixed: Mapping[str, Any]) -> str:
    """` with scale=2, mask=None`: what forward is given besides tensors."""
    return f" with {fixed_text(fixed)}" if fixed else ""


def outputs_text(analysis: Analysis) -> str:
    return ", ".join(f"{name} {shape_text(shape)}" for name, shape in analysis.outputs.items())


def shape_text(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape))


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
