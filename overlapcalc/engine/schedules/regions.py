"""Running a net on regions: every tensor only where it is needed, call by call, freed after its last use."""

from __future__ import annotations

from collections.abc import Mapping

from ...propagate.regions import Region
from ...trace.runnable import Runnable
from ..slab.call import SlabCall
from ..slab.frame import Frame, SlabTensor

Regions = Mapping[str, Region]
"""Node -> the region that is needed. A node that is not named is not computed."""


def run_regions(
    frame: Frame, runnable: Runnable, regions: Regions, inputs: Mapping[str, SlabTensor]
) -> dict[str, SlabTensor]:
    """The outputs of the net on their regions. Raises NoSlabError.

    inputs: the available part of each input, which must contain the needed region.
    """
    graph = frame.net.graph
    wanted = [node for node in graph if node.name in regions]
    outputs = {name for _, name in graph.outputs}
    last = {operand: i for i, node in enumerate(wanted) for operand in node.operands}
    held: dict[str, SlabTensor] = {}
    found: dict[str, SlabTensor] = {}
    for i, node in enumerate(wanted):
        region = regions[node.name]
        if node.op == "input":
            held[node.name] = inputs[node.name]
        else:
            call = SlabCall(frame, node, runnable.calls.get(node.name), region, held)
            held[node.name] = SlabTensor(call.result(), region)
            del call
        if node.name in outputs:
            found[node.name] = held[node.name]
        for operand in set(node.operands):
            if last[operand] == i:
                held.pop(operand, None)
        if last.get(node.name, -1) <= i and node.name in held:
            del held[node.name]
    return found
