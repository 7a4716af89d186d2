"""The schedule `trim`: each block on its own, and of every layer only what the block needs of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...planning.plan import Plan
from ...planning.slabs import cell_regions
from ...trace.runnable import Runnable
from ..block import Block
from ..slab.frame import Frame
from ..store import Image
from .regions import block_of, run_regions, taken


def trimmed(frame: Frame, calls: Runnable, plan: Plan, inputs: Mapping[str, Image]) -> Iterator[Block]:
    """Run every block of a plan on its own. Raises NoSlabError."""
    for cell in plan.cells():
        regions = cell_regions(frame.net, cell)
        given = {name: taken(frame, plan, x, name, regions) for name, x in inputs.items() if name in regions}
        yield block_of(frame, plan, cell, run_regions(frame, calls, regions, given), given)
