"""Convolution and transposed convolution in every spelling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import gcd, prod

from ...algebra.index_map import IndexMap
from ...algebra.spans import Span
from ..call import Call
from ..cost import kernel, slab_kernel
from ..facts import describe, spelling
from ..graph import Constant, Node
from ..kind import Kind
from ..law import DimRead, Law, Link, Place, channel_groups, whole
from ..registry import rule
from ..slab import Phase, Slab, Tensor, on_slab

Taps = tuple[tuple[int, ...], ...]

describe("aten::conv1d", "aten::conv2d", "aten::conv3d", kind=Kind.CONVOLUTION, word="conv")
describe(*(f"aten::conv_transpose{n}d" for n in (1, 2, 3)), kind=Kind.TRANSPOSED_CONVOLUTION, word="tconv")
describe("aten::convolution", "aten::_convolution", kind=Kind.CONVOLUTION)


@spelling("aten::convolution", "aten::_convolution")
def by_dimensions(node: Node) -> str:
    """The operator that the arguments stand for: transposed or not, and in how many dimensions."""
    weight = node.args.get("weight")
    if not isinstance(weight, Constant):
        return node.op
    return f"aten::conv{'_transpose' if node.args.get('transposed') else ''}{len(weight.shape) - 2}d"


def _kernel(call: Call) -> tuple[int, ...]:
    """The shape of the weight, which may depend on data: (out, in / groups, kernel...), or (in, out / groups, ...)."""
    weight, at = call.constant("weight"), call.position("weight")
    if weight is not None:
        return weight.shape
    assert at is not None
    return call.shapes[at]


def _of_data(call: Call) -> list[Link]:
    """A weight or a bias that depends on data is read whole."""
    n, links = len(call.shape), []
    for name in ("weight", "bias"):
        at = call.position(name)
        if at is not None:
            dims = [whole(s, None, f"is the {name} of a convolution, all of it") for s in range(len(call.shapes[at]))]
            links.append(Link(at, (*dims, *(DimRead(None, t) for t in range(n)))))
    return links


def _products(taps: Taps) -> list[Taps]:
    """Kernel positions as a union of products: per product, the positions along each axis.

    A mask is seldom a rectangle; taken axis by axis it would read corners that it does not have. Rows with the
    same pattern share a product.

    >>> _products(((0, 0), (0, 1), (0, 2), (1, 0)))  # PixelCNN's mask A of 3x3: the row above, and the left neighbour
    [((0,), (0, 1, 2)), ((1,), (0,))]
    """
    if len(taps[0]) == 1:
        return [(tuple(sorted(t[0] for t in taps)),)]
    rows: dict[int, list[tuple[int, ...]]] = {}
    for first, *rest in taps:
        rows.setdefault(first, []).append(tuple(rest))
    alike: dict[Taps, list[int]] = {}
    for first, pattern in rows.items():
        alike.setdefault(tuple(sorted(pattern)), []).append(first)
    return [(tuple(sorted(firsts)), *product) for pattern, firsts in alike.items() for product in _products(pattern)]


def _law(call: Call, n: int, reads: Callable[[int, tuple[int, ...]], IndexMap]) -> Law:
    """One link per product of kernel positions; `reads(i, taps)` is the map along spatial dimension i."""
    weight, kernel, at = call.constant("weight"), _kernel(call), call.position("input")
    if at is None:
        return Law(tuple(_of_data(call)), places=_places(call, 0))
    shape = call.shapes[at]
    first = len(shape) - n
    if weight is None or weight.taps is None:
        products: list[Taps] = [tuple(tuple(range(k)) for k in kernel[2:])]
    else:
        products = _products(weight.taps) if weight.taps else [((),) * n]
    lead = [DimRead(d, d, IndexMap.identity()) for d in range(first - 1)]
    lead.append(_channels(call, first - 1, int(call["groups"] or 1)))
    links = []
    for product in products:
        space = [DimRead(first + i, first + i, reads(i, taps)) for i, taps in enumerate(product)]
        links.append(Link(at, (*lead, *space), exact=weight is None or not weight.uneven))
    return Law((*links, *_of_data(call)), places=_places(call, first - 1))


def _places(call: Call, channel: int) -> tuple[Place, ...]:
    """Channels of the weight are those of the operands; where one of these is an axis, it is refused anyway."""
    return (*call.place("weight"), *call.place("bias", {0: channel}), *call.place("input"))


def _channels(call: Call, channel: int, groups: int) -> DimRead:
    what = "a convolution mixes all positions of the axis"
    return channel_groups(call.shapes[call.position("input") or 0][channel], call.shape[channel], groups, channel, what)


def _windows(call: Call, n: int, stride: tuple[int, ...], padding: tuple[int, ...]) -> Law:
    dilation = call.ints("dilation", n, 1)
    return _law(call, n, lambda i, taps: IndexMap.taps((dilation[i] * t - padding[i] for t in taps), stride[i]))


def _transposed(call: Call, n: int, stride: tuple[int, ...], padding: tuple[int, ...]) -> Law:
    dilation = call.ints("dilation", n, 1)
    return _law(call, n, lambda i, taps: IndexMap.transposed(taps, stride[i], padding[i], dilation[i]))


def _same_padding(call: Call, n: int) -> tuple[int, ...]:
    """'same' pads d*(k-1) in total, the smaller half before; 'valid' pads nothing."""
    if call["padding"] == "valid":
        return (0,) * n
    dilation = call.ints("dilation", n, 1)
    return tuple(dilation[i] * (_kernel(call)[2 + i] - 1) // 2 for i in range(n))


@rule("aten::conv1d", "aten::conv2d", "aten::conv3d")
def conv(call: Call) -> Law:
    n = int(call.node.op[-2])
    same = isinstance(call["padding"], str)
    padding = _same_padding(call, n) if same else call.ints("padding", n)
    return _windows(call, n, call.ints("stride", n, 1), padding)


@rule("aten::conv_transpose1d", "aten::conv_transpose2d", "aten::conv_transpose3d")
def conv_transpose(call: Call) -> Law:
    n = int(call.node.op[-2])
    return _transposed(call, n, call.ints("stride", n, 1), call.ints("padding", n))


@rule("aten::convolution", "aten::_convolution")
def convolution(call: Call) -> Law:
    n = len(_kernel(call)) - 2
    build = _transposed if call["transposed"] else _windows
    return build(call, n, call.ints("stride", n, 1), call.ints("padding", n))


@kernel(
    *(f"aten::conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3)), "aten::convolution", "aten::_convolution"
)
def conv_kernel(call: Call) -> int:
    """Every sample of the output (of the input, if transposed) times the whole kernel and its channels."""
    kernel_shape, at = _kernel(call), call.position("input")
    transposed = "transpose" in call.node.op or bool(call["transposed"])
    known = call.constant("input")
    given = call.shapes[at] if at is not None else known.shape if known is not None else call.shape
    samples = given if transposed else call.shape
    n = len(kernel_shape) - 2
    return prod(samples) // samples[len(samples) - n - 1] * prod(kernel_shape)


def _convolved(slab: Slab) -> tuple[int, int, int]:
    """Which operand is the image, its first spatial dimension, and how many there are."""
    call = slab.call
    at, n = call.position("input"), len(_kernel(call)) - 2
    if at != 0 or len(call.shapes) > 1:
        raise slab.none("has a weight that depends on data")
    return at, len(call.shapes[at]) - n, n


@on_slab("aten::conv1d", "aten::conv2d", "aten::conv3d")
def conv_on_slab(slab: Slab) -> Tensor:
    """All taps of the region; padding is fetched, so the operator pads nothing."""
    call = slab.call
    at, first, n = _convolved(slab)
    kernel, stride, dilation = _kernel(call)[2:], call.ints("stride", n, 1), call.ints("dilation", n, 1)
    padding = _same_padding(call, n) if isinstance(call["padding"], str) else call.ints("padding", n)
    spans, left = {}, list(padding)
    for i in range(n):
        out = slab.span(first + i)
        if not isinstance(call["padding"], str) and slab.is_whole(at, first + i):
            spans[first + i] = Span(0, call.shapes[at][first + i])
        elif out is not None:
            start, reach = out.start * stride[i] - padding[i], dilation[i] * (kernel[i] - 1) + 1
            spans[first + i] = Span(start, start + (out.length - 1) * stride[i] + reach)
            left[i] = 0
        elif isinstance(call["padding"], str):
            raise slab.none("pads a dimension that is no axis")
    return slab.run(
        input=slab.fetch(at, spans, last=True), padding="valid" if isinstance(call["padding"], str) else left
    )


def _phases(kernel: int, stride: int, padding: int, dilation: int) -> list[Phase]:
    """Output `stride*q + r` has the taps t with `stride*j = stride*q + r + padding - dilation*t` for a whole j."""
    apart = dilation // gcd(stride, dilation)
    found = []
    for r in range(stride):
        taps = [t for t in reversed(range(kernel)) if (r + padding - dilation * t) % stride == 0]
        begins = (r + padding - dilation * taps[0]) // stride if taps else 0
        found.append(Phase(tuple(taps), begins, apart))
    return found


def _all_phases(call: Call, n: int) -> list[list[Phase]]:
    sizes = _kernel(call)[2:], call.ints("stride", n, 1), call.ints("padding", n), call.ints("dilation", n, 1)
    return [_phases(*dimension) for dimension in zip(*sizes, strict=True)]


def _periods(out: Span, stride: int) -> Span:
    """The q of every output `stride*q + r` in the span."""
    return Span(out.start // stride, -(-out.stop // stride))


def _divided(call: Call, outs: Sequence[Span | None]) -> Sequence[Span] | None:
    """The spans, if they are to be computed phase by phase: more than one phase, each with a tap, and not the whole
    image."""
    n, shape = len(outs), call.shape
    known = [out for out in outs if out is not None]
    phases = _all_phases(call, n)
    if len(shape) < n + 2 or len(known) < n or all(len(dim) == 1 for dim in phases):
        return None
    if not all(phase.taps for dim in phases for phase in dim):
        return None
    return None if known == [Span(0, size) for size in shape[-n:]] else known


@on_slab("aten::conv_transpose1d", "aten::conv_transpose2d", "aten::conv_transpose3d")
def conv_transpose_on_slab(slab: Slab) -> Tensor:
    """A convolution per phase, which computes nothing outside the region; the operator itself where that cannot be."""
    call = slab.call
    at, first, n = _convolved(slab)
    outs = [slab.span(first + i) for i in range(n)]
    divided = _divided(call, outs)
    if divided is None:
        return _spread(slab, at, first, outs)
    phases, spans = _all_phases(call, n), {}
    for i, out in enumerate(divided):
        start, stop = _periods(out, len(phases[i]))
        ends = [phase.begins + phase.dilation * (len(phase.taps) - 1) for phase in phases[i]]
        spans[first + i] = Span(start + min(phase.begins for phase in phases[i]), stop + max(ends))
    return slab.by_phases(slab.fetch(at, spans, last=True), [span.start for span in spans.values()], phases)


def _spread(slab: Slab, at: int, first: int, outs: Sequence[Span | None]) -> Tensor:
    """The operator itself, with its padding along dimensions that are present whole."""
    call, n = slab.call, len(outs)
    padding, more, stride = (
        list(call.ints("padding", n)),
        list(call.ints("output_padding", n)),
        call.ints("stride", n, 1),
    )
    spans, begins = {}, {}
    for i, out in enumerate(outs):
        if out is None:
            continue
        if out == Span(0, call.shape[first + i]):
            spans[first + i] = Span(0, call.shapes[at][first + i])
        else:
            spans[first + i] = span = _covering(call, n, i, out)
            begins[first + i] = span.start * stride[i] - padding[i]
            padding[i] = more[i] = 0
    result = slab.run(input=slab.fetch(at, spans, last=True), padding=padding, output_padding=more)
    for d, start in begins.items():
        result = slab.kept(result, d, start)
    return result


def _covering(call: Call, n: int, i: int, out: Span) -> Span:
    """Enough samples to cover the outputs. Those beyond the image add nothing, nor do those that no tap reads."""
    stride, padding = call.ints("stride", n, 1)[i], call.ints("padding", n)[i]
    reach = call.ints("dilation", n, 1)[i] * (_kernel(call)[2 + i] - 1)
    start = min((out.start + padding - reach) // stride, (out.start + padding) // stride)
    stop = max(-(-(out.stop - 1 + padding - reach) // stride), start) + 1
    return Span(start, max(stop, (out.stop - 1 + padding) // stride + 1))


@slab_kernel(*(f"aten::conv_transpose{n}d" for n in (1, 2, 3)), "aten::convolution", "aten::_convolution")
def transposed_kernel(call: Call, spans: Sequence[Span | None], shape: tuple[int, ...]) -> int | None:
    """The kernel and its channels, times whole periods of the region where it is computed by phases, and times the
    samples that cover it where the operator computes it."""
    kernel = _kernel(call)
    if not (call.shapes and ("transpose" in call.node.op or call["transposed"])):
        return None
    n, samples = len(kernel) - 2, []
    outs, strides = spans[-n:], call.ints("stride", n, 1)
    divided = _divided(call, outs)
    for i, out in enumerate(outs):
        if divided is not None:
            samples.append(_periods(divided[i], strides[i]).length)
        elif out is None or out == Span(0, call.shape[i - n]):
            samples.append(call.shapes[0][i - n])
        else:
            samples.append(_covering(call, n, i, out).length)
    return prod(shape[: -n - 1]) * prod(kernel) * prod(samples)


@on_slab("aten::convolution", "aten::_convolution")
def convolution_on_slab(slab: Slab) -> Tensor:
    return conv_transpose_on_slab(slab) if slab.call["transposed"] else conv_on_slab(slab)
