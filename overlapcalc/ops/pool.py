"""Max and average pooling. Adaptive pooling changes its windows with the image and is refused."""

from __future__ import annotations

from ..index import IndexMap, Span
from .call import Call
from .law import Block, Cause, DimRead, Law, Link, keep
from .registry import rule
from .slab import Slab, Tensor, on_slab


@rule(
    *(f"aten::{kind}_pool{n}d" for kind in ("max", "avg") for n in (1, 2, 3)),
    *(f"aten::max_pool{n}d_with_indices" for n in (1, 2, 3)),
    sizes=("kernel_size", "stride", "padding"),
)
def pool(call: Call) -> Law:
    """Windows as in a convolution; `ceil_mode` only adds a last window, whose reads are clipped at the border.

    In three dimensions torch refuses an image smaller than the window, however much it is padded.
    """
    x = call.shapes[0]
    n = int(call.node.op.partition("_pool")[2][0])
    kernel = call.ints("kernel_size", n)
    stride = call.ints("stride", n) if call["stride"] not in (None, ()) else kernel
    padding, dilation = call.ints("padding", n), call.ints("dilation", n, 1)
    first = len(x) - n
    dims = {
        first + i: DimRead(
            first + i,
            first + i,
            IndexMap.window(kernel[i], stride[i], padding[i], dilation[i]),
            least=kernel[i] if n == 3 else 1,
        )
        for i in range(n)
    }
    link = Link(0, keep(len(x), but=dims))
    if call.node.result == 0:
        return Law((link,))
    index = Block(Cause.POSITION, "the positions of maxima count from the start of the image")
    return Law((link,), blocks=tuple((d, index) for d in dims))


@rule(*(f"aten::{lead}adaptive_{kind}_pool{n}d" for lead in ("", "_") for kind in ("max", "avg") for n in (1, 2, 3)))
def adaptive_pool(call: Call) -> Law:
    x = call.shapes[0]
    n = int(call.node.op[-2])
    out = call.ints("output_size", n)
    dims = {}
    for i, size in enumerate(out):
        d = len(x) - n + i
        block = Block(
            Cause.GLOBAL if size == 1 else Cause.ADAPTIVE_POOLING,
            "pools over the whole axis" if size == 1 else f"pools to {size} samples, however large the image",
        )
        dims[d] = DimRead(d, d, None, block=block)
    return Law((Link(0, keep(len(x), but=dims)),))


@on_slab(
    *(f"aten::{kind}_pool{n}d" for kind in ("max", "avg") for n in (1, 2, 3)),
    *(f"aten::max_pool{n}d_with_indices" for n in (1, 2, 3)),
)
def pool_on_slab(slab: Slab) -> Tensor:
    """Windows over what is fetched, without padding. An average is a sum here, divided by what torch divides it by."""
    call = slab.call
    n = int(call.node.op.partition("_pool")[2][0])
    if call.node.result:
        raise slab.none("gives positions of maxima, which count from the start of the image")
    kernel, padding, dilation = call.ints("kernel_size", n), call.ints("padding", n), call.ints("dilation", n, 1)
    stride = call.ints("stride", n) if call["stride"] not in (None, ()) else kernel
    first = len(call.shape) - n
    spans = {}
    for i in range(n):
        out = slab.span(first + i)
        if out is None:
            raise slab.none("pools along a dimension that is no axis")
        start = out.start * stride[i] - padding[i]
        spans[first + i] = Span(start, start + (out.length - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1)
    changes = {"padding": [0] * n, "ceil_mode": False}
    if "max_pool" in call.node.op:
        return slab.run(self=slab.fetch(0, spans, fill=-INFINITY), **changes)
    x = slab.fetch(0, spans)
    if n == 1:
        total = slab.run(self=x, count_include_pad=True, **changes) * kernel[0]
    else:
        total = slab.run(self=x, divisor_override=1, **changes)
    if call["divisor_override"]:
        return total / int(call["divisor_override"])
    for i in range(n):
        out, size = slab.span(first + i), call.shapes[0][first + i]
        assert out is not None
        low, high = (-padding[i], size + padding[i]) if call["count_include_pad"] else (0, size)
        counts = [_overlap(o * stride[i] - padding[i], kernel[i], low, high) for o in range(*out)]
        total = slab.scaled(total, first + i, [1 / c for c in counts])
    return total


INFINITY = float("inf")


def _overlap(start: int, length: int, low: int, high: int) -> int:
    return max(1, min(start + length, high) - max(start, low))
