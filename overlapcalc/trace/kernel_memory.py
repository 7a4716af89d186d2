"""What torch's kernels allocate for themselves while they run, on a CPU.

Measured with torch 2.13 on x86-64 (oneDNN); `benchmarks/cost/memory.py` compares predictions with measured runs.

    float32 convolution                  max(blocked(in) + blocked(out), blocked(out) + out)
    float32 transposed convolution       max(2 * in + out, 3 * out)
    both where oneDNN is not used        columns + out, columns = channels * taps * positions
    attention of nn.MultiheadAttention   scores, queries, keys, values and the result

kept, once, by products of matrices: a panel of the second factor, 192 x 6432 samples at most (256 x 512 in float64);
and, kept for every new shape of tensors: code of about 2.4 KiB per tap of the kernel, 6 KiB if it is transposed.

`blocked` rounds the channels up to what a vector register holds; fewer input channels than that are read as they are.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

LANES = {"AVX512": 16, "AVX2": 8}
FEW = 20480
"""Up to this many input samples, torch does not use oneDNN for kernels of 3 and less."""


def while_running(func: Any, args: Any, out: Any) -> int:
    """Bytes that an operator allocates at its fullest moment, including its result; 0 where it needs no more."""
    if func is torch.ops.aten._native_multi_head_attention.default:
        return _attention(*args[:5])
    if func is not torch.ops.aten.convolution.default:
        return 0
    x, weight, _, stride, padding, _, transposed, _, groups = args[:9]
    if _by_onednn(x, weight, stride, groups):
        return _transposed(x, out) if transposed else _convolution(x, out)
    taps = math.prod(weight.shape[2:])
    if taps == 1 and not transposed and all(s == 1 for s in stride) and not any(padding):
        return bytes_in(out)
    positions = int(math.prod((x if transposed else out).shape[2:]))
    channels = int((out if transposed else x).shape[1]) // int(groups)
    columns: int = channels * taps * positions * int(x.element_size())
    return columns + bytes_in(out) * (1 if groups == 1 else 2)


def code(func: Any, args: Any) -> tuple[Any, int] | None:
    """What a kernel is compiled for, and the bytes of its code; None for operators that need no code of their own."""
    if func is not torch.ops.aten.convolution.default:
        return None
    x, weight, _, stride, padding, dilation, transposed, _, groups = args[:9]
    if not _by_onednn(x, weight, stride, groups):
        return None
    key = tuple(x.shape), tuple(weight.shape), tuple(stride), tuple(padding), tuple(dilation), transposed, groups
    return key, math.prod(weight.shape[2:]) * (CODE_TRANSPOSED if transposed else CODE)


def panel(func: Any, args: Any) -> int:
    """Bytes that a product of matrices keeps when it is done, for the next one."""
    if func not in FACTORS or not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return 0
    second = args[FACTORS[func]]
    most = PANELS.get(second.dtype, (0, 0))
    return int(min(second.shape[-2], most[0]) * min(second.shape[-1], most[1]) * second.element_size())


FACTORS = {
    torch.ops.aten.mm.default: 1,
    torch.ops.aten.bmm.default: 1,
    torch.ops.aten.addmm.default: 2,
    torch.ops.aten.baddbmm.default: 2,
}
"""Products of matrices, and which argument is the second factor."""
PANELS = {torch.float32: (192, 6432), torch.float64: (256, 512)}
CODE, CODE_TRANSPOSED = 2400, 6000
"""Bytes of code per tap. oneDNN generates code for every shape that it meets, and keeps it."""


def _attention(query: Tensor, key: Tensor, _value: Tensor, width: int, heads: int) -> int:
    """Scores of all queries and keys, once, beside three projections and the result: (batch, position, width) each."""
    batch, queries, keys = query.shape[0], query.shape[1], key.shape[1]
    scores = batch * heads * queries * keys
    return (scores + batch * width * (2 * queries + 2 * keys)) * query.element_size()


def bytes_in(t: Tensor) -> int:
    return t.numel() * t.element_size()


def _by_onednn(x: Tensor, weight: Tensor, stride: list[int], groups: int) -> bool:
    if x.dtype != torch.float32 or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if all(k == 1 for k in weight.shape[2:]) and all(s == 1 for s in stride) and torch.get_num_threads() == 1:
        return False
    return groups > 1 or all(k > 3 for k in weight.shape[2:]) or x.shape[0] > 1 or x.numel() > FEW


def _convolution(x: Tensor, out: Tensor) -> int:
    """The kernel reads and writes blocks of channels, then the result is copied into the usual order.

    A part of a tensor, as phases of transposed convolutions read it, is copied first.
    """
    source = _blocked(x) if x.shape[1] >= _lanes() else 0
    copied = 0 if x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last) else bytes_in(x)
    return copied + max(source + _blocked(out), _blocked(out) + bytes_in(out))


def _transposed(x: Tensor, out: Tensor) -> int:
    """The source reordered, once more with a border, and the result; then the result in two more orders."""
    return max(2 * bytes_in(x) + bytes_in(out), 3 * bytes_in(out))


def _blocked(t: Tensor) -> int:
    lanes = _lanes()
    return bytes_in(t) // t.shape[1] * (-(-t.shape[1] // lanes) * lanes)


def _lanes() -> int:
    return LANES.get(torch.backends.cpu.get_cpu_capability(), 4)
