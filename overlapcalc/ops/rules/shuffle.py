"""Pixel shuffle and unshuffle, channel shuffle: rearrangements between channels and space."""

from __future__ import annotations

from itertools import product

from ...algebra.index_map import IndexMap
from ...algebra.spans import EMPTY, Span, Spans
from ..call import Call
from ..facts import describe
from ..law import DimRead, Evenness, Law, Link, keep
from ..registry import rule
from ..slab import Slab, Tensor, on_slab


@rule("aten::pixel_shuffle")
def pixel_shuffle(call: Call) -> Law:
    """Output (c, h, w) reads channel c*r*r + (h % r)*r + w % r at (h // r, w // r).

    Where all channels read the same, one link with `floor(o / r)` says it all; where they differ, each of the
    r*r sub-channels feeds one phase.
    """
    n, r = len(call.shape), int(call["upscale_factor"])
    c, h, w = n - 3, n - 2, n - 1
    channels = call.shape[c]
    grow = IndexMap.repeat(r)
    every = IndexMap(1, r * r, (Spans.span(0, r * r),))
    links = [
        Link(
            0,
            keep(n, but={c: DimRead(c, c, every), h: DimRead(h, h, grow), w: DimRead(w, w, grow)}),
            only_for=Evenness.EVEN,
        )
    ]
    for i, j in product(range(r), repeat=2):
        one = IndexMap.taps([i * r + j], r * r)
        dims = {
            c: DimRead(c, c, one),
            h: DimRead(h, h, IndexMap.repeat(r, i)),
            w: DimRead(w, w, IndexMap.repeat(r, j)),
        }
        links.append(Link(0, keep(n, but=dims), only_for=Evenness.UNEVEN))
    assert call.shapes[0][c] == channels * r * r
    return Law(tuple(links))


@rule("aten::pixel_unshuffle")
def pixel_unshuffle(call: Call) -> Law:
    """Output channel c*r*r + i*r + j at (h, w) reads channel c at (h*r + i, w*r + j)."""
    n, r = len(call.shape), int(call["downscale_factor"])
    c, h, w = n - 3, n - 2, n - 1
    links = []
    for i, j in product(range(r), repeat=2):
        mine = i * r + j
        one = IndexMap(r * r, 1, tuple(Spans.span(0, 1) if p == mine else EMPTY for p in range(r * r)))
        dims = {
            c: DimRead(c, c, one),
            h: DimRead(h, h, IndexMap.taps([i], r)),
            w: DimRead(w, w, IndexMap.taps([j], r)),
        }
        links.append(Link(0, keep(n, but=dims)))
    return Law(tuple(links))


@rule("aten::channel_shuffle", "aten::native_channel_shuffle", shown=False)
def channel_shuffle(call: Call) -> Law:
    """Output channel j*g + i reads channel i*(C/g) + j."""
    groups, wide = int(call["groups"]), call.shape[1] // int(call["groups"])
    reads = IndexMap(groups, 1, tuple(Spans.points([i * wide]) for i in range(groups)))
    return call.local({1: reads})


describe("aten::pixel_shuffle", word="pixel-shuffle")
describe("aten::pixel_unshuffle", word="pixel-unshuffle")


@on_slab("aten::pixel_shuffle")
def pixel_shuffle_on_slab(slab: Slab) -> Tensor:
    n, r = len(slab.call.shape), int(slab.call["upscale_factor"])
    result = slab.run(self=slab.fetch())
    for d in (n - 2, n - 1):
        result = slab.kept(result, d, slab.begins(0, d) * r)
    return result


@on_slab("aten::pixel_unshuffle")
def pixel_unshuffle_on_slab(slab: Slab) -> Tensor:
    """Whole groups of r*r samples: the sub-channels together read all of them."""
    n, r = len(slab.call.shape), int(slab.call["downscale_factor"])
    spans = {}
    for d in (n - 2, n - 1):
        out = slab.span(d)
        if out is not None:
            spans[d] = Span(out.start * r, out.stop * r)
    return slab.run(self=slab.fetch(0, spans))
