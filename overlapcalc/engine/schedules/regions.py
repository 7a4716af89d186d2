"""Running a net on regions: every tensor only where it is needed, call by call, freed after its last use.

And what trim and stream share beside that: the part of an input that is needed, and a block cut from the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ...analysis.named import Named
from ...planning.plan import Cell, Plan
from ...propagate.regions import Region, whole_region
from ...trace.runnable import Runnable
from ..block import Block, owned, within
from ..slab.call import SlabCall
from ..slab.frame import Frame, SlabTensor
from ..slab.spare import spare_operands
from ..store import Image, read

Regions = Mapping[str, Region]
"""Node -> the region that is needed. A node that is not named is not computed."""


def run_regions(
    frame: Frame, runnable: Runnable, regions: Regions, inputs: Mapping[str, SlabTensor]
) -> dict[str, SlabTensor]:
    """The outputs of the net on their regions. Raises NoSlabError.

    inputs: the available part of each input, which must contain the needed region. What this run took of one alone may
    be overwritten.
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
            read = [operand for operand in node.operands if last[operand] == i and operand not in outputs]
            rest = [x for name, x in held.items() if name not in read]
            spare = spare_operands(node, read, held, (*rest, *found.values()))
            call = SlabCall(frame, node, runnable.calls.get(node.name), region, held, read, spare)
            for operand in read:
                held.pop(operand, None)
            result = call.result()
            held[node.name] = SlabTensor(result, region, own=call.owns(result))
            del call, result
        if node.name in outputs:
            found[node.name] = held[node.name]
        for operand in set(node.operands):
            if last[operand] == i:
                held.pop(operand, None)
        if last.get(node.name, -1) <= i and node.name in held:
            del held[node.name]
    return found


def whole(frame: Frame, name: str, x: Tensor) -> SlabTensor:
    """An input that is there as a whole."""
    return SlabTensor(x, whole_region(frame.net, name))


def taken(frame: Frame, plan: Plan, x: Image, name: str, regions: Mapping[str, Region]) -> SlabTensor:
    """The needed part of an input; a tensor is taken whole."""
    if isinstance(x, Tensor):
        return whole(frame, name, x)
    return SlabTensor(read(x, within(plan.labels[name], regions[name]), frame.like.device), regions[name], own=True)


def block_of(
    frame: Frame,
    plan: Plan,
    cell: Cell,
    found: Mapping[str, SlabTensor],
    held: Mapping[str, SlabTensor],
) -> Block:
    """The outputs, cut to the block. held: what is still to be read, including inputs."""
    regions, results = {}, {}
    for shown, node in frame.net.graph.outputs:
        region = plan.region(cell, shown)
        if region is None or node not in found:
            continue
        regions[shown] = region
        results[shown] = found[node].tensor[within(plan.labels[shown], region, found[node].region)]
    return Block(Named(regions), owned(results, (other.tensor for other in held.values())))
