"""Memory that a call may write its result to: that of operands which nobody reads afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from ...ops.graph import Node
from .frame import SlabTensor
from .memory import memory


def spare_operands(
    node: Node, last: Iterable[str], operands: Mapping[str, SlabTensor], others: Iterable[SlabTensor]
) -> frozenset[str]:
    """The operands in memory that this call may overwrite.

    last: operands of which nothing is read after this call. others: all else that a run holds now; it may hold an
    operand's memory under another name, as a view.
    """
    names = [name for name in last if name in operands and operands[name].own and node.operands.count(name) == 1]
    if not names:
        return frozenset()
    rest = [x for name, x in operands.items() if name in node.operands and name not in names]
    taken = {memory(x.tensor) for x in (*others, *rest)}
    own = [memory(operands[name].tensor) for name in names]
    return frozenset(name for name, at in zip(names, own, strict=True) if at not in taken and own.count(at) == 1)


def _apart(x: Tensor) -> bool:
    """Whether no two samples lie in one place, as those of overlapping windows do."""
    reach = 1
    for step, n in sorted((step, n) for n, step in zip(x.shape, x.stride(), strict=True) if n > 1):
        if step < reach:
            return False
        reach += step * (n - 1)
    return True


def fits(x: object, values: Iterable[object], shape: tuple[int, ...]) -> bool:
    """Whether a result of this shape, computed sample by sample from these arguments, fits into the memory of x, which
    is one of them: in its type, each sample in a place of its own."""
    if not isinstance(x, Tensor) or tuple(x.shape) != shape or not x.is_floating_point():
        return False
    if not _apart(x):
        return False
    tensors = [value for value in values if isinstance(value, Tensor)]
    return all(t.dtype == x.dtype for t in tensors) and not any(isinstance(value, complex) for value in values)
