"""Padding, negative padding (cropping), slices."""

from __future__ import annotations

from ..index import IndexMap
from .call import Call
from .law import Block, Border, Cause, DimRead, Law, Link, keep
from .registry import rule


def _padded(call: Call, pad: tuple[int, ...], mode: str) -> Law:
    """torch lists (before, after) from the last dimension backwards."""
    n = len(call.shapes[0])
    dims: dict[int, DimRead] = {}
    for i in range(len(pad) // 2):
        d, before, after = n - 1 - i, pad[2 * i], pad[2 * i + 1]
        border = Border(mode) if mode != "circular" else Border.CONSTANT
        block = Block(Cause.CIRCULAR, "circular padding joins the two ends of the image")
        dims[d] = DimRead(
            d,
            d,
            IndexMap.shift(-before),
            border,
            block if mode == "circular" and (before or after) else None,
            least=max(before, after, 0) + 1 if border is Border.REFLECT else max(1, -min(before, 0) - min(after, 0)),
        )
    return Law((Link(0, keep(n, but=dims)),))


@rule("aten::pad", sizes=("pad",))
def pad(call: Call) -> Law:
    return _padded(call, call["pad"], call["mode"] or "constant")


@rule("aten::constant_pad_nd", sizes=("pad",))
def constant_pad(call: Call) -> Law:
    return _padded(call, call["pad"], "constant")


@rule(*(f"aten::reflection_pad{n}d" for n in (1, 2, 3)), sizes=("padding",))
def reflection_pad(call: Call) -> Law:
    return _padded(call, call["padding"], "reflect")


@rule(*(f"aten::replication_pad{n}d" for n in (1, 2, 3)), sizes=("padding",))
def replication_pad(call: Call) -> Law:
    return _padded(call, call["padding"], "replicate")


@rule("aten::slice", shown=False, sizes=("start", "end"))
def slice_(call: Call) -> Law:
    """Output o reads start + step*o. Where the slice ends shows in the output's size."""
    d = call.dim()
    size = call.shapes[0][d]
    start = int(call["start"] or 0)
    start = min(max(start + size if start < 0 else start, 0), size)
    return call.local({d: IndexMap.taps([start], int(call["step"] or 1))})


@rule("aten::narrow", shown=False, sizes=("start", "length"))
def narrow(call: Call) -> Law:
    d = call.dim()
    start = int(call["start"])
    return call.local({d: IndexMap.shift(start + call.shapes[0][d] if start < 0 else start)})
