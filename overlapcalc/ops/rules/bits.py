"""Memory read as numbers of another type: `x.view(torch.int32)`.

A type of the same width reads sample by sample. A wider one combines several neighbours of the last dimension into
one number, a narrower one splits each into several. The lengths of that dimension tell which.
"""

from __future__ import annotations

from ...algebra.index_map import IndexMap
from ...algebra.spans import Span
from ..call import Call
from ..facts import describe
from ..kind import Kind
from ..law import Law
from ..registry import rule
from ..slab import Slab, Tensor, on_slab

NAMES = ("aten::view.dtype", "aten::view_copy.dtype")
describe(*NAMES, kind=Kind.RECAST, stops_nan=True, reads_memory=True)


def _widths(call: Call) -> tuple[int, int]:
    """How many samples of the last dimension make one output, and how many outputs one sample makes.

    One length is a multiple of the other: the width of every torch type is a power of two.
    """
    before, after = call.shapes[0][-1], call.shape[-1]
    return (before // after, 1) if before >= after else (1, after // before)


@rule(*NAMES, shown=False)
def view_as_type(call: Call) -> Law:
    if not call.shape or 0 in (call.shapes[0][-1], call.shape[-1]):
        return call.identity()
    taken, made = _widths(call)
    reads = IndexMap.window(taken, taken) if taken > 1 else IndexMap.repeat(made)
    return call.local({-1: reads})


@on_slab(*NAMES)
def view_as_type_on_slab(slab: Slab) -> Tensor:
    """The numbers of one sample, and those that make one output, stay together; the memory must be contiguous."""
    n = len(slab.call.shape)
    out = slab.span(n - 1) if n else None
    if out is None:
        return slab.run(self=slab.fetch().contiguous())
    taken, made = _widths(slab.call)
    if taken > 1:
        wanted = Span(out.start * taken, out.stop * taken)
        return slab.run(self=slab.fetch(0, {n - 1: wanted}).contiguous())
    result = slab.run(self=slab.fetch().contiguous())
    return result if made == 1 else slab.kept(result, n - 1, slab.begins(0, n - 1) * made)
