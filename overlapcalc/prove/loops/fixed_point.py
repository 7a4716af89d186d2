"""The whole net, run on what the loop made, makes it again: bit for bit, in integers modulo a prime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

import torch
from torch import Tensor, nn

from ...engine.loop.machine import LoopMachine
from ...engine.loop.program import Program
from ...engine.loop.stage import Cells
from ...engine.schedules.regions import run_regions
from ...engine.slab.frame import Frame, SlabTensor
from ...errors import NoSlabError, NoTwin
from ...planning.stages import WAVEFRONT
from ...planning.wavefront import Order
from ...propagate.regions import whole_region
from ..against_whole import FAILURES, said
from ..fillings import same_bits
from ..result import NOT_APPLICABLE, Proof
from ..twin import Modular, residues, twin_of
from .subject import LoopSubject, cells_of, every_cell, frame_of, mixing


def fixed_point(subject: LoopSubject, program: Program) -> Proof:
    """In integers modulo a prime: the whole net on what the loop made must make it again, bit for bit.

    The control: a loop that makes the cells of two steps in one, in raster order of all, and so reads some that are not
    made, must not.
    """
    name, count = "fixed point", prod(program.order.cells)
    reason = "whole net on what the loop made, in integers modulo a prime"
    try:
        twin = twin_of(subject.net)
        wrong = _in_integers(subject, program, twin)
        failing = subject.loop.steps() == 1 or fails(lambda: _in_integers(subject, hurried(program), twin) > 0)
    except (NoTwin, NoSlabError) as error:
        return Proof(name, NOT_APPLICABLE, str(error))
    except FAILURES as error:
        return Proof.of(name, reason, 1, [said(error)])
    failures = [f"{wrong} cells are not what the whole net makes"] if wrong else []
    if not failing and not failures:
        return Proof(name, NOT_APPLICABLE, "the control is a fixed point, too: the twin hides what is read too early")
    return Proof.of(name, reason, count, failures)


def hurried(program: Program) -> Program:
    """The same with the cells of two steps made in one; in raster order, where neighbours may read nothing of each
    other, those of all."""
    every = 2 if program.order.name == WAVEFRONT else prod(program.order.cells)
    stages = tuple(Order(order.cells, tuple(t // every for t in order.times)) for order in program.order.stages)
    return replace(program, order=replace(program.order, stages=stages))


def fails(control: Callable[[], bool]) -> bool:
    """Whether a control does not hold, or cannot even be run."""
    try:
        return control()
    except FAILURES:
        return True


def _in_integers(subject: LoopSubject, program: Program, twin: nn.Module) -> int:
    """How many cells a whole run on what the loop made makes otherwise."""
    state = {**dict(twin.named_parameters(remove_duplicate=False)), **dict(twin.named_buffers(remove_duplicate=False))}
    inputs = {k: residues(tuple(x.shape), 11 + i, x.device) if x.is_floating_point() else x
              for i, (k, x) in enumerate(subject.given.items())}  # fmt: skip
    kinds = [inputs[stage.feeds].dtype for stage in program.stages]
    mixed = replace(program, stages=tuple(mixing(program, k, kind) for k, kind in enumerate(kinds)))
    frame = frame_of(subject, program, state, inputs)
    with Modular() as mode:
        mode.entered("", inputs.values())
        machine = LoopMachine(mixed, frame, subject.loop.calls, inputs, torch.float64, judged=False)
        mode.left()
        mode.entered("", machine.tables.values())
        machine.run()
        fed = {stage.feeds: machine.fed(stage.feeds) for stage in program.stages}
        mode.left()
        everything = {**inputs, **fed}
        mode.entered("", everything.values())
        again = _made_again(subject, mixed, frame, everything)
        mode.left()
    return sum(_differing(program, name, fed[name], cells) for name, cells in again.items())


def _made_again(
    subject: LoopSubject, program: Program, frame: Frame, inputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """What the hooks make of a whole run, call by call: for each input that is made, (cells, ...)."""
    net = program.whole
    frame = replace(frame, net=net)
    regions = {node.name: whole_region(net, node.name) for node in net.graph}
    held = {name: SlabTensor(x, regions[name]) for name, x in inputs.items()}
    outputs = run_regions(frame, subject.loop.calls, regions, held)
    found = {}
    for stage in program.stages:
        taken = {}
        for shown in stage.outputs:
            node = program.outputs[shown]
            cells = cells_of(program, shown, outputs[node].tensor)
            taken[shown] = program.form(node).tensors(cells, program.cell_of(node))
        found[stage.feeds] = stage.hook(Cells(every_cell(program), taken))
    return found


def _differing(program: Program, name: str, fed: Tensor, again: Tensor) -> int:
    """How many cells differ."""
    form = program.form(name)
    own = form.rows(fed, form.sizes)[program.cell_samples[name].to(fed.device)]
    other = form.rows_of_each(again, program.cell_of(name)).to(own.dtype)
    return int((~same_bits(own, other)).flatten(1).any(1).sum())
