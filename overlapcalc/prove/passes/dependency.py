"""Proof 1 of passes: within a pass, a band depends on no sample outside the region that it is said to read.

The pass runs twice at the same shape, so with the same kernels: as it is, and with everything outside the region
replaced. What reductions gave stays as it was. The band must be bit-identical.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from ...algebra.spans import Span
from ...engine.machine import Machine
from ...engine.schedules.regions import run_regions
from ...engine.schedules.stream import parts
from ...engine.slab.frame import SlabTensor, extents
from ...errors import OverlapcalcError
from ...propagate.regions import extents_for, joint_regions
from ..against_whole import FAILURES, said
from ..fillings import Fillings, only, same_bits
from ..result import NOT_APPLICABLE, Proof
from .run import RanPass, held

NAME = "dependency"


def pass_dependency(machine: Machine, inputs: Mapping[str, Tensor]) -> Proof:
    """Bands at both ends and in the middle of everything that leaves a pass; with the control that everything is
    replaced, which must change something in each pass that reads anything."""
    axis = machine.plan.stream_axis
    assert axis is not None
    failures, checks = list[str](), 0
    try:
        for ran in held(machine, inputs):
            fillings = list(Fillings(ran.one.net.graph).used())
            for name, span in _looked_at(ran, axis):
                checks += 1
                wrong = _differing(machine, ran, axis, name, span, fillings)
                if wrong:
                    failures.append(f"pass {ran.one.number}: {axis}{span} of {name} changes with what it does not read")
            if _reads(ran, axis) and not _control(machine, ran, axis, fillings):
                failures.append(f"pass {ran.one.number}: nothing changes when everything that it reads does")
    except OverlapcalcError as error:
        return Proof(NAME, NOT_APPLICABLE, str(error))
    except FAILURES as error:
        return Proof(NAME, NOT_APPLICABLE, said(error))
    return Proof.of(NAME, "bands of everything that leaves a pass, with the rest replaced", checks, failures)


def _looked_at(ran: RanPass, axis: str) -> Iterator[tuple[str, Span]]:
    for _, node in ran.one.net.graph.outputs:
        size = ran.one.net.size(node, axis)
        if size is None or node in ran.inputs:
            continue
        length = max(1, size // 5)
        for start in sorted({0, (size - length) // 2, size - length}):
            yield node, Span(start, start + length)


def _reads(ran: RanPass, axis: str) -> bool:
    return any(True for _ in _looked_at(ran, axis)) and any(axis in x.region for x in ran.inputs.values())


def _differing(machine: Machine, ran: RanPass, axis: str, name: str, span: Span, fillings: list[str]) -> bool:
    """Whether a band changes when all inputs change outside the region that it reads."""
    extents_of = extents_for(ran.one.net, axis, {name: span})
    regions = joint_regions(ran.one.net, {})
    plain = _band(ran.found[name], ran, name, axis, span)
    for filling in fillings:
        given = {n: _outside(ran, n, x, axis, extents_of.get(n), filling) for n, x in ran.inputs.items()}
        found = run_regions(ran.frame, machine.calls, regions, given)
        if not bool(same_bits(plain, _band(found[name], ran, name, axis, span)).all()):
            return True
    return False


def _control(machine: Machine, ran: RanPass, axis: str, fillings: list[str]) -> bool:
    """Whether anything changes when nothing along the axis is kept."""
    regions = joint_regions(ran.one.net, {})
    for filling in fillings:
        given = {n: _outside(ran, n, x, axis, None, filling) for n, x in ran.inputs.items()}
        found = run_regions(ran.frame, machine.calls, regions, given)
        if any(not bool(same_bits(found[n].tensor, ran.found[n].tensor).all()) for n in found if n not in ran.inputs):
            return True
    return False


def _outside(ran: RanPass, name: str, x: SlabTensor, axis: str, kept: Span | None, filling: str) -> SlabTensor:
    """An input with another filling outside a span along the axis; one without the axis stays as it is."""
    if axis not in x.region:
        return x
    layout = ran.one.net.values[name].layout
    changed = only(parts(layout, x), layout.labels, None if kept is None else {axis: kept}, filling)
    laid = torch.empty_like(x.tensor)  # in memory as it was, or another kernel would round otherwise
    return SlabTensor(laid.copy_(changed.reshape(extents(layout, x.region))), x.region)


def _band(x: SlabTensor, ran: RanPass, name: str, axis: str, span: Span) -> Tensor:
    layout = ran.one.net.values[name].layout
    return parts(layout, x).narrow(layout.labels.index(axis), span.start, span.length)
