"""A run of passes in one band each, with everything that each pass reads and computes held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from ...engine.images import images
from ...engine.machine import Machine
from ...engine.schedules.passes import PassRun
from ...engine.schedules.regions import run_regions, whole
from ...engine.slab.frame import Frame, SlabTensor
from ...engine.spill.stores import Stores
from ...planning.passes.cut import Pass
from ...propagate.regions import joint_regions, whole_region
from ..against_whole import at_once


@dataclass(frozen=True)
class RanPass:
    """A pass as it ran. inputs: whole, by node. found: what leaves it, whole."""

    one: Pass
    frame: Frame
    inputs: Mapping[str, SlabTensor]
    found: Mapping[str, SlabTensor]


class _Held(PassRun):
    ran: list[RanPass]

    def _bands(self, one: Pass, frame: Frame) -> Iterator[dict[str, SlabTensor]]:
        inputs = {name: self._input(name, one, frame) for name in one.net.graph.inputs}
        found = run_regions(frame, self._calls, joint_regions(one.net, {}), inputs)
        self.ran.append(RanPass(one, frame, inputs, dict(found)))
        yield found

    def _input(self, name: str, one: Pass, frame: Frame) -> SlabTensor:
        if name in self._given:
            return whole(frame, name, self._given[name])
        return replace(self._read(name, whole_region(one.net, name)), own=False)  # it is looked at later


def held(machine: Machine, inputs: Mapping[str, Tensor]) -> list[RanPass]:
    """Every pass of a machine, whole. Raises NoSlabError."""
    plan = at_once(machine.plan)
    assert plan.passes is not None
    net = machine.in_passes
    frame = replace(machine.frame(inputs), net=net.net.net)
    with Stores(plan.passes, frame.like) as stores:
        _, first = next(images(machine.plan, inputs))
        run = _Held(frame, machine.calls, net.net, net.passes, plan.passes.rows, first, stores.rows)
        run.ran = []
        for _ in run.blocks():
            pass
    return run.ran
