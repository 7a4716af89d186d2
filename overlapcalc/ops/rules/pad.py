"""Padding, negative padding (cropping), slices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from ...algebra.index_map import IndexMap
from ...algebra.spans import Spans
from ..border import Border
from ..call import Call
from ..facts import describe
from ..kind import Kind
from ..law import Cause, DimRead, Law, Link, Obstruction, at_size, keep
from ..registry import rule
from ..slab import Slab, Tensor, by_itself, on_slab


def _padded(call: Call, pad: tuple[int, ...], mode: str) -> Law:
    """torch lists (before, after) from the last dimension backwards."""
    n = len(call.shapes[0])
    dims: dict[int, DimRead] = {}
    for i in range(len(pad) // 2):
        d, before, after = n - 1 - i, pad[2 * i], pad[2 * i + 1]
        if mode == "circular":
            if before or after:
                places = _wrapped(call, d)
                few = IndexMap.table([[i] for i in places]) if len(places) <= MOST_CELLS else None
                made = at_size(d, partial(_one, places), len(places), CIRCULAR, few)
                dims[d] = replace(made, picks=True)
            continue
        border = Border(mode)
        dims[d] = DimRead(
            d,
            d,
            IndexMap.shift(-before),
            border,
            least=_least(border, before, after),
        )
    return Law((Link(0, keep(n, but=dims)),))


def _least(border: Border, before: int, after: int) -> int:
    """The fewest samples that can be padded so."""
    if border.mirrors:
        return max(before, after, 0) + (1 if border is Border.REFLECT else 0)
    return max(1, -min(before, 0) - min(after, 0))


MOST_CELLS = 4096
"""A table of what the places of a dimension that is no axis read has at most this many rows."""
CIRCULAR = Obstruction(Cause.CIRCULAR, "circular padding joins the two ends of the image")


def _wrapped(call: Call, d: int) -> list[int]:
    """The sample that each output of a circular padding copies along dimension d."""
    at, size = 2 * (len(call.shape) - 1 - d), call.shapes[0][d]
    before = call["pad"][at] if at < len(call["pad"]) else 0
    return [(o - before) % size for o in range(call.shape[d])]


def _one(places: list[int], o: int) -> list[int]:
    return [places[o]]


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
    """Output o reads start + step*o. The end of the slice shows in the output's size."""
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


describe("aten::constant_pad_nd", kind=Kind.PADDING, word="pad")
describe(*(f"aten::reflection_pad{n}d" for n in (1, 2, 3)), word="reflect pad")
describe(*(f"aten::replication_pad{n}d" for n in (1, 2, 3)), word="replicate pad")

FILLS = {"reflection": "reflect", "reflect": "reflect", "replication": "replicate", "replicate": "replicate",
         "symmetric": "symmetric"}  # fmt: skip


@on_slab("aten::pad", "aten::constant_pad_nd", *(f"aten::{kind}_pad{n}d" for kind in ("reflection", "replication")
                                              for n in (1, 2, 3)))  # fmt: skip
def pad_on_slab(slab: Slab) -> Tensor:
    """What is fetched is padded already."""
    call = slab.call
    op, n = call.node.op, len(call.shape)
    name = "padding" if op.startswith(("aten::reflection", "aten::replication")) else "pad"
    mode = op.partition("::")[2].partition("_")[0] if name == "padding" else call["mode"] or "constant"
    if mode == "circular":
        return _circular_on_slab(slab)
    pads = [0 if slab.span(n - 1 - i // 2) is not None else p for i, p in enumerate(call[name])]
    if any(pads) and mode != "constant":
        return slab.picked(_ends(call, pads, mode), fill=FILLS[mode])
    x = slab.fetch(0, fill=FILLS.get(mode) or float(call["value"] or 0))
    return slab.run(self=x, **{name: pads}) if any(pads) else x


def _ends(call: Call, pads: Sequence[int], mode: str) -> dict[int, list[int]]:
    """For each dimension that is padded so, the sample that lies at each of its places."""
    places, border = {}, Border(FILLS[mode])
    for i in range(0, len(pads), 2):
        d, (before, after) = len(call.shape) - 1 - i // 2, pads[i : i + 2]
        if before or after:
            size = call.shapes[0][d]
            places[d] = [next(iter(_real(border, o, size))) for o in range(-before, size + after)]
    return places


def _real(border: Border, o: int, size: int) -> Iterable[int]:
    return border.fold(Spans.span(o, o + 1), size)[0].indices()


def _circular_on_slab(slab: Slab) -> Tensor:
    """Every sample by its place in the image, along cut dimensions and others alike."""
    call, places = slab.call, {}
    for i in range(len(call["pad"]) // 2):
        d = len(call.shape) - 1 - i
        if any(call["pad"][2 * i : 2 * i + 2]):
            places[d] = _wrapped(call, d)[slice(*(slab.span(d) or (None,)))]
    found = by_itself(slab, places)
    return slab.picked(places) if found is None else found


@on_slab("aten::slice", "aten::narrow")
def slice_on_slab(slab: Slab) -> Tensor:
    """What is fetched begins where the slice does; then every step-th sample."""
    call = slab.call
    d = call.dim()
    if slab.span(d) is None:
        return slab.run()
    step = int(call["step"] or 1)
    x = slab.fetch()
    return x if step == 1 else slab.every(x, d, step)
