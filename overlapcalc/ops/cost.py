"""The cost of operators that multiply and add. Each family says which operators these are and what their kernels do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TypeVar

from ..algebra.index_map import IndexMap
from ..algebra.spans import Span
from .call import Call
from .law import DimRead, Evenness, Law
from .registry import known_of, say

KernelFunction = Callable[[Call], int]
SlabKernelFunction = Callable[[Call, "Sequence[Span | None]", "tuple[int, ...]"], "int | None"]
K = TypeVar("K", bound=KernelFunction)
S = TypeVar("S", bound=SlabKernelFunction)


def kernel(*ops: str | Callable[..., object], dense: bool = False) -> Callable[[K], K]:
    """Register how many multiply-accumulates the kernels of these operators carry out for a call.

    Counted as torch's flop counter does: a convolution multiplies its padding too, a transposed one spreads every
    input sample over its whole kernel. dense: all of it is needed, and the reads of one operand would not show it.

    >>> @kernel("mylib::blur5")
    ... def blur5_kernel(call):
    ...     return 5 * prod(call.shape)
    """

    def register(function: K) -> K:
        say("kernel", ops, function, dense=dense)
        return function

    return register


def slab_kernel(*ops: str | Callable[..., object]) -> Callable[[S], S]:
    """Register what these operators cost for a region, where a slab run uses other kernels than their own.

    The function takes the call on the whole image, the region's span along each dimension of the output (None: not an
    axis), and its shape. It returns None where the operator's own kernel runs on what is read.
    """

    def register(function: S) -> S:
        say("slab_kernel", ops, function)
        return function

    return register


def kernel_macs(call: Call) -> int:
    """The multiply-accumulates of this call's kernel; 0 for operators that have no cost."""
    found = known_of(call.node.op).kernel
    return 0 if found is None or not call.shapes else found(call)


def slab_macs(whole: Call, slab: Call, spans: Sequence[Span | None]) -> int:
    """The multiply-accumulates of the kernels for a region; slab: the call that reads just what the region reads."""
    found = known_of(slab.node.op).slab_kernel
    made = None if found is None else found(whole, spans, slab.shape)
    return kernel_macs(slab) if made is None else made


def counts(op: str) -> bool:
    """Whether an operator's multiply-accumulates are counted."""
    return known_of(op).kernel is not None


def needed_macs(call: Call, law: Law, starts: tuple[int, ...]) -> int:
    """Output samples times what each of them reads: the taps of its phase, and the channels of its group.

    starts: for each dimension of the output, the index of its first sample in the whole image.
    """
    if known_of(call.node.op).dense:
        return kernel_macs(call)
    operand = next((k for k in (call.position("input"), call.position("self"), 0) if k is not None), 0)
    total = 0
    for link in law.links:
        if link.operand != operand or link.only_for is Evenness.UNEVEN:
            continue
        met = {dim.target for dim in link.dims}
        rest = prod(n for t, n in enumerate(call.shape) if t not in met)
        total += rest * prod(_reads(dim, call.shapes[operand], call.shape, starts) for dim in link.dims)
    return total


def _reads(dim: DimRead, shape: tuple[int, ...], out: tuple[int, ...], starts: tuple[int, ...]) -> int:
    """The number of pairs of an output index and an operand index that it reads, along one dimension."""
    here = 1 if dim.target is None else out[dim.target]
    if dim.source is None:
        return here
    if dim.reads is None or dim.target is None:
        return here * shape[dim.source]
    return _pairs(dim.reads, starts[dim.target], starts[dim.target] + here)


def _pairs(reads: IndexMap, start: int, stop: int) -> int:
    total = 0
    for phase, spans in enumerate(reads.phases):
        samples = len(range(start + (phase - start) % reads.period, stop, reads.period))
        total += samples * sum(b - a for a, b in spans.parts)
    return total
