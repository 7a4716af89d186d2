"""Max and average pooling. Adaptive pooling to a part of the length is one too; else its windows are a table."""

from __future__ import annotations

from functools import partial

from ...algebra.index_map import IndexMap
from ...algebra.spans import Span
from ..accumulate import added, larger, precise, wide
from ..call import Call
from ..facts import describe, spelling
from ..graph import Node
from ..kind import Kind
from ..law import Cause, DimRead, Law, Link, Obstruction, at_size, keep
from ..parts import Band, Cut, Partial, in_parts
from ..registry import rule
from ..slab import Slab, Tensor, Windows, by_itself, on_slab


@rule(
    *(f"aten::{kind}_pool{n}d" for kind in ("max", "avg") for n in (1, 2, 3)),
    *(f"aten::max_pool{n}d_with_indices" for n in (1, 2, 3)),
    sizes=("kernel_size", "stride", "padding"),
)
def pool(call: Call) -> Law:
    """Windows as in a convolution; `ceil_mode` only adds a last window, whose reads are clipped at the border.

    In three dimensions torch refuses an image smaller than the window, no matter how much it is padded.
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
    if call.node.result == 0 or call["window"]:  # positions that an unpooling consumes are samples like any other
        return Law((link,))
    index = Obstruction(Cause.POSITION, "the positions of maxima count from the start of the image")
    return Law((link,), obstructions=tuple((d, index) for d in dims))


@rule(*(f"aten::{lead}adaptive_{kind}_pool{n}d" for lead in ("", "_") for kind in ("max", "avg") for n in (1, 2, 3)),
      sizes=("output_size",))  # fmt: skip
def adaptive_pool(call: Call) -> Law:
    """Where the length divides by the output's, this is a pooling whose kernel is its stride: a law wherever the output
    follows the image so. Else a table at each size."""
    x = call.shapes[0]
    n = int(call.node.op[-2])
    out = call.ints("output_size", n)
    dims = {}
    by_size: Obstruction | None = None
    for i, size in enumerate(out):
        d = len(x) - n + i
        said = f"pools {x[d]} samples to {size}, in windows that follow from both numbers"
        if x[d] % size == 0:
            said += f" (here what a pooling of kernel and stride {x[d] // size} gives)"
        why = Obstruction(
            Cause.GLOBAL if size == 1 else Cause.ADAPTIVE_POOLING, "pools over the whole axis" if size == 1 else said
        )
        if size == 1 or call.node.result:
            dims[d] = DimRead(d, d, None, obstruction=why)
        elif x[d] % size == 0:
            k = x[d] // size
            dims[d], by_size = DimRead(d, d, IndexMap.window(k, k), otherwise=why), why
        else:
            window = partial(_window, size=x[d], out=size)
            dims[d] = at_size(d, lambda o, window=window: range(*window(o)), size, why, None)  # type: ignore[misc]
    return Law((Link(0, keep(len(x), but=dims)),), by_size=by_size)


def _window(o: int, size: int, out: int) -> Span:
    """What output o of an adaptive pooling reads.

    >>> [str(_window(o, 10, 4)) for o in range(4)]
    ['[0, 3)', '[2, 5)', '[5, 8)', '[7, 10)']
    """
    return Span(o * size // out, -(-(o + 1) * size // out))


for kind in ("max", "avg"):
    describe(*(f"aten::{kind}_pool{n}d" for n in (1, 2, 3)), kind=Kind.POOLING, word=f"{kind}-pool")
    describe(
        *(f"aten::{lead}adaptive_{kind}_pool{n}d" for lead in ("", "_") for n in (1, 2, 3)),
        kind=Kind.ADAPTIVE_POOLING, word=f"adaptive {kind}-pool",
    )  # fmt: skip
describe(*(f"aten::max_pool{n}d_with_indices" for n in (1, 2, 3)), kind=Kind.POOLING, word="max-pool")


@spelling(*(f"aten::max_pool{n}d_with_indices" for n in (1, 2, 3)))
def without_indices(node: Node) -> str:
    return node.op.removesuffix("_with_indices")


@on_slab(
    *(f"aten::{kind}_pool{n}d" for kind in ("max", "avg") for n in (1, 2, 3)),
    *(f"aten::max_pool{n}d_with_indices" for n in (1, 2, 3)),
)
def pool_on_slab(slab: Slab) -> Tensor:
    """Windows over what is fetched, without padding. Averages over whole windows, corrected to torch's own divisor.

    Averages instead of sums: in half precision a sum may overflow where an average does not.
    """
    call = slab.call
    n = int(call.node.op.partition("_pool")[2][0])
    if call.node.result and not call["window"]:
        raise slab.none("gives positions of maxima, which count from the start of the image")
    kernel, padding, dilation = call.ints("kernel_size", n), call.ints("padding", n), call.ints("dilation", n, 1)
    stride = call.ints("stride", n) if call["stride"] not in (None, ()) else kernel
    first = len(call.shape) - n
    spans, left = {}, [0] * n
    for i in range(n):
        out = slab.span(first + i)
        if out is None:  # not cut: as the operator has it
            if call.node.result:
                raise slab.none("gives positions along a dimension that is no axis")
            left[i] = padding[i]
            continue
        if slab.is_whole(0, first + i) and not call["ceil_mode"] and not call.node.result:
            spans[first + i], left[i] = Span(0, call.shapes[0][first + i]), padding[i]
            continue
        start = out.start * stride[i] - padding[i]
        spans[first + i] = Span(start, start + (out.length - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1)
    changes = {"padding": left, "ceil_mode": False}
    if "max_pool" in call.node.op:
        found = slab.run(self=slab.fetch(0, spans, fill=-INFINITY, last=True), **changes)
        if not call.node.result:
            return found
        sizes = tuple(spans[first + i].length for i in range(n))
        return slab.in_windows(found, Windows(sizes, (0,) * n, stride, kernel))
    more = {} if n == 1 else {"divisor_override": None}
    mean = slab.run(self=slab.fetch(0, spans, last=True), count_include_pad=True, **more, **changes)
    for i in range(n):
        size = call.shapes[0][first + i]
        out = slab.span(first + i) or Span(0, call.shape[first + i])
        low, high = (-padding[i], size + padding[i]) if call["count_include_pad"] else (0, size)
        counts = [_overlap(o * stride[i] - padding[i], kernel[i], low, high) for o in range(*out)]
        if call["divisor_override"]:
            counts = [int(call["divisor_override"]) if i == 0 else 1] * out.length
        if any(count != kernel[i] for count in counts):
            mean = slab.scaled(mean, first + i, [kernel[i] / count for count in counts])
    return mean


@on_slab(*(f"aten::{lead}adaptive_{kind}_pool{n}d" for lead in ("", "_") for kind in ("max", "avg") for n in (1, 2, 3)))
def adaptive_pool_on_slab(slab: Slab) -> Tensor:
    """Dimension by dimension, window by window: all windows that share a row have its height."""
    call = slab.call
    n, largest = int(call.node.op[-2]), "max_pool" in call.node.op
    if call.node.result:
        raise slab.none("gives positions of maxima, which count from the start of the image")
    first = len(call.shape) - n
    found = by_itself(slab, range(first, first + n))
    if found is not None:
        return found
    x = slab.fetch()
    for d in range(first, first + n):
        span, size, out = slab.span(d), call.shapes[0][d], call.shape[d]
        begins = 0 if span is None else slab.begins(0, d)
        x = slab.over_windows(x, d, [_window(o, size, out) for o in range(*(span or (0, out)))], begins, largest)
    return x


INFINITY = float("inf")


def _overlap(start: int, length: int, low: int, high: int) -> int:
    return max(1, min(start + length, high) - max(start, low))


# ---- in parts, where one window covers the axis ---------------------------------------------------------------


def covers(call: Call, cut: Cut) -> bool:
    """Whether a single window covers the dimension that is cut, and values are meant, not positions."""
    if len(cut) != 1 or cut[0] is None or call.node.result:
        return False
    n, size = _spatial(call), len(call.shapes[0])
    i = cut[0] - (size - n)
    if i < 0:
        return False
    if "adaptive" in call.node.op:
        return call.ints("output_size", n)[i] == 1
    kernel, padding, dilation = call.ints("kernel_size", n), call.ints("padding", n), call.ints("dilation", n, 1)
    whole = kernel[i] == call.shapes[0][cut[0]] and not padding[i] and dilation[i] == 1
    return whole and not call["divisor_override"]


def _spatial(call: Call) -> int:
    return int(call.node.op.partition("_pool")[2][0])


def pooled(band: Band, x: Tensor) -> tuple[Tensor, int]:
    """The operator on a band, whose window there is as long as the band, and that length."""
    call, n, d = band.call, _spatial(band.call), band.cut[0]
    assert d is not None
    length = int(x.shape[d])
    if "adaptive" in call.node.op:
        return band.run(self=x), length
    kernel = list(call.ints("kernel_size", n))
    kernel[d - (len(call.shapes[0]) - n)] = length
    return band.run(self=x, kernel_size=kernel), length


def start_average(band: Band) -> Partial:
    mean, length = pooled(band, wide(band.operand()))
    return precise(mean) * length, length


def finish_average(call: Call, partial: Partial) -> Tensor:
    total, length = partial
    return total / length


def start_maximum(band: Band) -> Partial:
    return pooled(band, band.operand())[:1]


def combine_maxima(a: Partial, b: Partial) -> Partial:
    return (larger(a[0], b[0]),)


def finish_maximum(call: Call, partial: Partial) -> Tensor:
    result: Tensor = partial[0]
    return result


in_parts(*(f"aten::avg_pool{n}d" for n in (1, 2, 3)),
         *(f"aten::{lead}adaptive_avg_pool{n}d" for lead in ("", "_") for n in (1, 2, 3)),
         fits=covers, start=start_average, combine=added, finish=finish_average)  # fmt: skip
in_parts(*(f"aten::max_pool{n}d{indices}" for n in (1, 2, 3) for indices in ("", "_with_indices")),
         *(f"aten::{lead}adaptive_max_pool{n}d" for lead in ("", "_") for n in (1, 2, 3)),
         fits=covers, start=start_maximum, combine=combine_maxima, finish=finish_maximum)  # fmt: skip
