"""What a schedule holds at its fullest: the same engine on shapes alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from ..errors import TraceError
from ..plan import Memory, Plan
from ..source import Source
from ..trace.export import quiet
from ..trace.footprint import Held
from .block import Block, within
from .machine import Machine

MOST_BANDS = 96
"""So many bands of a stream are looked at: by then what it holds goes in circles."""


def weighed(source: Source, plan: Plan, dtype: torch.dtype | None) -> Plan:
    """A plan of calls with its memory, and that of the whole run, in it; None where they are not known."""
    try:
        whole = source.footprint(tuple(plan.inputs.values()), plan.dtype)
        held = _held(Machine(None, source, plan), dtype)
    except TraceError:
        return plan
    return replace(plan, memory=Memory(held, whole.weights), full_memory=Memory(whole.peak, whole.weights))


def _held(machine: Machine, dtype: torch.dtype | None) -> int:
    calls, plan = machine.calls, machine.plan

    def fake(shape: tuple[int, ...], own: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype if dtype is not None and own.is_floating_point else own)

    with quiet(), torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
        state = {name: fake(shape, own) for name, (shape, own) in calls.weights.items()}
        inputs = {name: fake(shape, own) for (name, shape), own in zip(plan.inputs.items(), calls.types, strict=True)}
        held = Held([*state.values(), *inputs.values()], kernels=True)
        given = {name: _Stored(x) for name, x in inputs.items()} if plan.stored else inputs
        outputs: dict[str, Tensor] = {}
        with held:
            for block in islice(machine.blocks(given, state=state), MOST_BANDS):
                if not plan.stored:
                    _put(block, plan, outputs)
                del block  # as a run does, before the next one is made
    return held.peak


def _put(block: Block, plan: Plan, outputs: dict[str, Tensor]) -> None:
    for name, result in block.results.items():
        if name not in outputs:
            outputs[name] = result.new_empty(plan.outputs[name])
        outputs[name][within(plan.labels[name], block.regions[name])] = result


class _Stored:
    """An image that is not in memory: a slice of it is a tensor of its own."""

    def __init__(self, image: Tensor) -> None:
        self._image = image
        self.shape, self.dtype = tuple(image.shape), str(image.dtype).removeprefix("torch.")

    def __getitem__(self, place: tuple[slice, ...]) -> Tensor:
        return self._image[place].clone()
