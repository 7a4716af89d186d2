"""Windows as dimensions of their own, and added up again: unfold, im2col, col2im; unpooling."""

from __future__ import annotations

from math import prod

from ...algebra.index_map import IndexMap
from ...algebra.spans import Span
from ..call import Call
from ..facts import describe
from ..kind import Kind
from ..law import Cause, DimRead, Evenness, Law, Link, Obstruction, keep
from ..registry import StepBefore, rule, steps
from ..slab import Slab, Tensor, Windows, on_slab

WINDOWS = "overlapcalc::windows"


def _windows(d: int, n: int, size: int, stride: int, padding: int = 0, dilation: int = 1) -> Law:
    """Place c of window i is sample `i * stride - padding + c * dilation`; places become a new last dimension."""
    links = []
    for c in range(size):
        reads = IndexMap.taps([c * dilation - padding], stride)
        links.append(Link(0, (*keep(n, but={d: DimRead(d, d, reads)}), DimRead(None, n, IndexMap.shift(-c)))))
    return Law(tuple(links))


@rule("aten::unfold")
def unfold(call: Call) -> Law:
    return _windows(call.dim("dimension"), len(call.shapes[0]), int(call["size"]), int(call["step"]))


@rule(WINDOWS, shown=False)
def windows(call: Call) -> Law:
    size, stride, padding, dilation = call["window"]
    return _windows(int(call["dim"]), len(call.shapes[0]), size, stride, padding, dilation)


def _counts(call: Call, size: tuple[int, ...]) -> tuple[int, ...]:
    """How many windows fit along each axis."""
    kernel, stride, padding, dilation = _window(call)
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    )


def _window(call: Call) -> tuple[tuple[int, ...], ...]:
    return call.ints("kernel_size", 2), call.ints("stride", 2, 1), call.ints("padding", 2), call.ints("dilation", 2, 1)


@steps("aten::im2col")
def apart(call: Call) -> list[StepBefore]:
    """Steps of im2col: windows along the rows, then along the columns, then the places in front of the windows."""
    n, c, *size = call.shapes[0]
    kernel, stride, padding, dilation = _window(call)
    rows, columns = _counts(call, tuple(size))
    return [
        StepBefore(WINDOWS, {"dim": 2, "window": (kernel[0], stride[0], padding[0], dilation[0])},
             (n, c, rows, size[1], kernel[0])),
        StepBefore(WINDOWS, {"dim": 3, "window": (kernel[1], stride[1], padding[1], dilation[1])},
             (n, c, rows, columns, *kernel)),
        StepBefore("aten::permute", {"dims": (0, 1, 4, 5, 2, 3)}, (n, c, *kernel, rows, columns)),
    ]  # fmt: skip


@rule("aten::im2col")
def im2col(call: Call) -> Law:
    """What remains after the steps is a view: places lie in the channels, windows in one dimension."""
    return Law((Link(0, (), runs=(((0,), (0,)), ((1, 2, 3), (1,)), ((4, 5), (2,)))),))


@steps("aten::col2im")
def seen_apart(call: Call) -> list[StepBefore]:
    n, wide, _ = call.shapes[0]
    kernel = call.ints("kernel_size", 2)
    counts = _counts(call, call.ints("output_size", 2))
    shape = (n, wide // prod(kernel), *kernel, *counts)
    return [StepBefore("aten::view", {"size": shape}, shape)]


@rule("aten::col2im", sizes=("output_size",))
def col2im(call: Call) -> Law:
    """Place (a, b) of window (i, j) is added to sample `(i * stride - padding + a * dilation, ...)`."""
    kernel, stride, padding, dilation = _window(call)
    links = []
    for a in range(kernel[0]):
        for b in range(kernel[1]):
            rows = IndexMap.transposed([a], stride[0], padding[0], dilation[0])
            columns = IndexMap.transposed([b], stride[1], padding[1], dilation[1])
            place = (DimRead(2, None, IndexMap.shift(a)), DimRead(3, None, IndexMap.shift(b)))
            space = (DimRead(4, 2, rows), DimRead(5, 3, columns))
            here = DimRead(0, 0, IndexMap.identity()), DimRead(1, 1, IndexMap.identity())
            links.append(Link(0, (*here, *place, *space), only_for=Evenness.UNEVEN))
    whole = [IndexMap.transposed(range(kernel[i]), stride[i], padding[i], dilation[i]) for i in range(2)]
    even = (*here, DimRead(2, None, None), DimRead(3, None, None), DimRead(4, 2, whole[0]), DimRead(5, 3, whole[1]))
    return Law((Link(0, even, only_for=Evenness.EVEN), *links))


@rule("aten::unfold_backward", sizes=("input_sizes",))
def overlap_add(call: Call) -> Law:
    """Place c of window i, along the last dimension, is added to sample `i * step + c`: what undoes frames, as in the
    inverse of a short-time Fourier transform."""
    n, d = len(call.shape), int(call["dim"]) % len(call.shape)
    size, step = int(call["size"]), int(call["step"])
    links = []
    for c in range(size):
        dims = keep(n, but={d: DimRead(d, d, IndexMap.transposed([c], step))})
        links.append(Link(0, (*dims, DimRead(n, None, IndexMap.shift(c))), only_for=Evenness.UNEVEN))
    every = keep(n, but={d: DimRead(d, d, IndexMap.transposed(range(size), step))})
    return Law((Link(0, (*every, DimRead(n, None, None)), only_for=Evenness.EVEN), *links))


@rule("aten::max_unpool2d", "aten::max_unpool3d", sizes=("output_size",))
def max_unpool(call: Call) -> Law:
    """Where the positions come from a pooling of this very size, a sample reads the windows that contained it.

    `window` describes that pooling (see unpool.py): kernel, stride, padding per axis.
    """
    n = len(call.shapes[0])
    links = []
    for k in range(len(call.shapes)):
        dims: dict[int, DimRead] = {}
        for i, window in enumerate(call["window"] or [None] * (n - 2)):
            if window is None:
                why = Obstruction(Cause.INDEXING, "puts samples at positions that depend on data")
                dims[2 + i] = DimRead(2 + i, 2 + i, None, obstruction=why)
            else:
                kernel, stride, padding = window
                dims[2 + i] = DimRead(2 + i, 2 + i, IndexMap.transposed(range(kernel), stride, padding))
        links.append(Link(k, keep(n, but=dims)))
    return Law(tuple(links))


describe("aten::max_unpool2d", "aten::max_unpool3d", kind=Kind.UNPOOLING)


def _windowed(slab: Slab, d: int, size: int, stride: int, padding: int = 0, dilation: int = 1) -> Tensor:
    out = slab.span(d)
    if out is None:
        raise slab.none("takes windows of a dimension that is no axis")
    start = out.start * stride - padding
    reach = dilation * (size - 1) + 1
    x = slab.fetch(0, {d: Span(start, start + (out.length - 1) * stride + reach)})
    return slab.every(x.unfold(d, reach, stride), x.ndim, dilation)


@on_slab("aten::unfold")
def unfold_on_slab(slab: Slab) -> Tensor:
    return _windowed(slab, slab.call.dim("dimension"), int(slab.call["size"]), int(slab.call["step"]))


@on_slab(WINDOWS)
def windows_on_slab(slab: Slab) -> Tensor:
    return _windowed(slab, int(slab.call["dim"]), *slab.call["window"])


@on_slab("aten::col2im")
def col2im_on_slab(slab: Slab) -> Tensor:
    """Enough windows to cover the region, added up; windows beyond the image are zero."""
    call = slab.call
    kernel, stride, padding, dilation = _window(call)
    spans, begins, sizes = {}, [], []
    for i in range(2):
        out = slab.span(2 + i)
        if out is None:
            raise slab.none("adds up windows along a dimension that is no axis")
        reach = dilation[i] * (kernel[i] - 1)
        start = (out.start + padding[i] - reach) // stride[i]
        stop = (out.stop - 1 + padding[i]) // stride[i] + 1
        spans[4 + i] = Span(start, stop)
        begins.append(start * stride[i] - padding[i])
        sizes.append((stop - start - 1) * stride[i] + reach + 1)
    x = slab.fetch(0, spans)
    flat = x.reshape(x.shape[0], x.shape[1] * prod(kernel), prod(x.shape[4:]))
    y = slab.run(self=flat, output_size=sizes, padding=[0, 0])
    for i in range(2):
        y = slab.kept(y, 2 + i, begins[i])
    return y


@on_slab("aten::unfold_backward")
def overlap_add_on_slab(slab: Slab) -> Tensor:
    """Enough windows to cover the region, added up; windows beyond the image are zero."""
    call = slab.call
    d, size, step = int(call["dim"]) % len(call.shape), int(call["size"]), int(call["step"])
    out = slab.span(d)
    if out is None:
        return slab.run(input_sizes=list(slab.shape))
    span = Span((out.start - size) // step + 1, (out.stop - 1) // step + 1)
    x = slab.fetch(0, {d: span}, last=True)
    sizes = [*slab.shape]
    sizes[d] = (span.length - 1) * step + size
    return slab.kept(slab.run(grad_in=x, input_sizes=sizes), d, span.start * step)


@on_slab("aten::max_unpool2d", "aten::max_unpool3d")
def max_unpool_on_slab(slab: Slab) -> Tensor:
    """Every window that overlaps the region, put back into a part of the image that contains them whole."""
    call = slab.call
    n = len(call.shape) - 2
    if call["apart"] or len(call.shapes) < 2:
        raise slab.none("takes positions that count from the start of the image")
    spans, starts, sizes, before = {}, [], [], []
    for i, (kernel, stride, padding) in enumerate(call["window"]):
        out, count = slab.span(2 + i), call.shapes[0][2 + i]
        if out is None:
            raise slab.none("unpools along a dimension that is no axis")
        first = min(max((out.start + padding - kernel) // stride + 1, 0), count - 1)
        last = max(min((out.stop - 1 + padding) // stride + 1, count), first + 1)
        spans[2 + i] = Span(first, last)
        starts.append(min(out.start, first * stride - padding))
        sizes.append(max(out.stop, (last - 1) * stride - padding + kernel) - starts[i])
        before.append(first * stride - padding - starts[i])
    kernels, strides, _ = zip(*call["window"], strict=True)
    where = slab.in_rows(slab.fetch(1, spans), Windows(tuple(sizes), tuple(before), strides, kernels))
    y = slab.run(self=slab.fetch(0, spans), indices=where, output_size=sizes)
    for i in range(n):
        y = slab.kept(y, 2 + i, starts[i])
    return y
