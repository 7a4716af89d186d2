"""Convolution and transposed convolution in every spelling."""

from __future__ import annotations

from ..errors import RuleError
from ..index import IndexMap
from .call import Call
from .law import DimRead, Law, Link, channel_blocks
from .registry import rule


def _kernel(call: Call, dim: int) -> tuple[list[int], int, bool]:
    """Kernel positions along weight dimension 2 + dim that are not masked for good, the kernel size, evenness."""
    weight = call.constant("weight")
    if weight is None:
        raise RuleError(
            f"{call.node.layer or 'net'}: {call.node.op} at {call.node.source or '?'} has a weight that depends on "
            "the input; there is no rule for that"
        )
    size = weight.shape[2 + dim]
    if weight.taps is None:
        return list(range(size)), size, False
    return sorted({t[dim] for t in weight.taps}), size, weight.uneven


def _channels(call: Call, channel: int, groups: int) -> DimRead:
    what = "a convolution mixes all positions of the axis"
    return channel_blocks(call.shapes[0][channel], call.shape[channel], groups, channel, what)


def _windows(call: Call, n: int, stride: tuple[int, ...], padding: tuple[int, ...]) -> Law:
    first = len(call.shapes[0]) - n
    dilation = call.ints("dilation", n, 1)
    dims = [DimRead(d, d, IndexMap.identity()) for d in range(first - 1)]
    dims.append(_channels(call, first - 1, int(call["groups"] or 1)))
    uneven = False
    for i in range(n):
        taps, _, uneven = _kernel(call, i)
        offsets = (dilation[i] * t - padding[i] for t in taps)
        dims.append(DimRead(first + i, first + i, IndexMap.taps(offsets, stride[i])))
    return Law((Link(0, tuple(dims), exact=not uneven),))


def _transposed(call: Call, n: int, stride: tuple[int, ...], padding: tuple[int, ...]) -> Law:
    first = len(call.shapes[0]) - n
    dilation = call.ints("dilation", n, 1)
    dims = [DimRead(d, d, IndexMap.identity()) for d in range(first - 1)]
    dims.append(_channels(call, first - 1, int(call["groups"] or 1)))
    uneven = False
    for i in range(n):
        taps, _, uneven = _kernel(call, i)
        reads = IndexMap.transposed(taps, stride[i], padding[i], dilation[i])
        dims.append(DimRead(first + i, first + i, reads))
    return Law((Link(0, tuple(dims), exact=not uneven),))


def _same_padding(call: Call, n: int) -> tuple[int, ...]:
    """'same' pads d*(k-1) in all, the smaller half before; 'valid' pads nothing."""
    if call["padding"] == "valid":
        return (0,) * n
    dilation = call.ints("dilation", n, 1)
    return tuple(dilation[i] * (_kernel(call, i)[1] - 1) // 2 for i in range(n))


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
    weight = call.constant("weight")
    n = len(weight.shape) - 2 if weight else len(call.shape) - 2
    build = _transposed if call["transposed"] else _windows
    return build(call, n, call.ints("stride", n, 1), call.ints("padding", n))

