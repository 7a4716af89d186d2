"""What a schedule holds at its fullest moment: the same engine on shapes alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from ..analysis.variants import Variants
from ..errors import TraceError
from ..planning.plan import Memory, Plan
from ..planning.slabs import PartKind, part_kind_of
from ..planning.strips import BlockSpan, Strip
from ..propagate.grid import Grid
from ..propagate.regions import extents_for
from ..propagate.stream_front import telling_bands
from ..propagate.values import Propagation
from ..trace.peak_memory import MemoryMeter
from ..trace.quiet import quiet
from ..trace.runnable import Runnable
from .assemble import assemble
from .block import Block
from .machine import Machine
from .padded import kept

FEW, MOST = 24, 96
"""At least and at most this many bands of a stream are run, and at most this many other blocks: by then what is held
repeats."""


def weighed(variants: Variants, plan: Plan) -> tuple[Memory, Memory] | None:
    """The memory of a plan for trim or stream, and of the whole run; None where that is unknown. Raises NoSlabError."""
    try:
        whole = variants.run_memory(tuple(plan.inputs.values()), plan.dtype)
        held = _held(Machine(None, variants, plan))
    except TraceError:
        return None
    return Memory(held, whole.weights), Memory(whole.peak, whole.weights)


def fakes(calls: Runnable, plan: Plan) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights and inputs in the types of a plan; within a mode of fake tensors, without samples."""
    dtype = None if plan.dtype is None else getattr(torch, plan.dtype)

    def fake(shape: tuple[int, ...], own: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype if dtype is not None and own.is_floating_point else own)

    state = {name: fake(shape, own) for name, (shape, own) in calls.weights.items()}
    inputs = {name: fake(shape, own) for (name, shape), own in zip(plan.inputs.items(), calls.types, strict=True)}
    return state, inputs


def _held(machine: Machine) -> int:
    calls, plan = machine.calls, machine.plan
    with quiet(), torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
        state, inputs = fakes(calls, plan)
        held = MemoryMeter([*state.values(), *inputs.values()], kernels=True)
        given = {name: StoredImage(x) for name, x in inputs.items()} if plan.stored else inputs

        def made() -> Iterator[Block]:
            for part, bands in _telling(machine.variants.net, plan):
                yield from islice(machine.blocks(given, state=state, plan=part), bands)  # none is held here

        blocks = made()
        with held:
            if plan.stored:
                deque(blocks, maxlen=0)
            else:
                assemble(kept(blocks, plan), plan)
    return held.live + held.kept  # a block like the fullest may come after all kernels were compiled


def _telling(net: Propagation, plan: Plan) -> Iterator[tuple[Plan, int]]:
    """Parts of a plan that together hold as much as all of it, and how many blocks of each to run.

    Blocks whose tensors have equal sizes hold the same; those at the ends also hold what lies beyond the image.
    """
    along = plan.stream_axis
    strips = {axis: strip if axis == along else _kinds(net, strip) for axis, strip in plan.strips.items()}
    few = replace(plan, strips=strips)
    if along is None:
        yield few, MOST
        return
    bands = telling_bands(net, along, (slot.outputs for slot in strips[along].slots[:MOST]), FEW)
    for column in few.cells(along=along):
        chosen = {axis: replace(strips[axis], slots=(slot,)) for axis, slot in column.items()}
        yield replace(plan, strips={**strips, **chosen}), bands


def _kinds(net: Propagation, strip: Strip) -> Strip:
    """One slot of each kind."""
    grid = Grid(net, strip.axis)
    kinds: dict[tuple[bool, bool, PartKind], BlockSpan] = {}
    for i, slot in enumerate(strip.slots):
        kind = part_kind_of(grid, extents_for(net, strip.axis, slot.outputs))
        kinds.setdefault((i == 0, i == len(strip.slots) - 1, kind), slot)
    return replace(strip, slots=tuple(kinds.values()))


class StoredImage:
    """An image that is not in memory: reading from it copies."""

    def __init__(self, image: Tensor) -> None:
        self._image = image
        self.shape, self.dtype = tuple(image.shape), str(image.dtype).removeprefix("torch.")

    def __getitem__(self, place: tuple[slice, ...]) -> Tensor:
        return self._image[place]
