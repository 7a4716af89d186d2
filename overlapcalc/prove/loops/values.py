"""The whole net, run on what the loop made, makes it again: in float64, within rounding."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from ...engine.loop.machine import LoopMachine
from ...engine.loop.program import Program
from ...engine.loop.stage import Cells, Stage
from ..against_whole import FAILURES, TOLERANCE, said
from ..result import Proof
from .subject import LoopSubject, cells_of, every_cell, frame_of, mixing


def loop_values(subject: LoopSubject, program: Program) -> Proof:
    """The same in float64, within what kernels of different shapes may round."""
    calm = replace(program, stages=tuple(_calming(subject, program, k) for k in range(len(program.stages))))
    state = {
        **dict(subject.net.named_parameters(remove_duplicate=False)),
        **dict(subject.net.named_buffers(remove_duplicate=False)),
    }
    frame = frame_of(subject, program, state, subject.given)
    types = {stage.feeds: subject.given[stage.feeds].dtype for stage in program.stages}
    reason = f"whole net on what the loop made, in float64, error at most {TOLERANCE:g}"
    try:
        machine = LoopMachine(calm, frame, subject.loop.calls, subject.given, types)
        machine.run()
        fed = {stage.feeds: machine.fed(stage.feeds) for stage in program.stages}
        outputs = subject.whole(subject.net, {**subject.given, **fed})
    except FAILURES as error:
        return Proof.of("values", reason, 1, [said(error)])
    failures = []
    for stage in calm.stages:
        cells = {shown: program.form(program.outputs[shown]).tensors(
            cells_of(program, shown, outputs[shown]), program.cell_of(program.outputs[shown]))
            for shown in stage.outputs}  # fmt: skip
        again = stage.hook(Cells(every_cell(program), cells))
        form = program.form(stage.feeds)
        own = form.rows(fed[stage.feeds], form.sizes)[program.cell_samples[stage.feeds].to(again.device)]
        other = form.rows_of_each(again, program.cell_of(stage.feeds))
        if not own.is_floating_point():
            continue  # rounding may turn a whole number
        off = float((own - other).abs().max())
        if not off <= TOLERANCE:
            failures.append(f"{stage.feeds} is off by {off:.2g}")
    return Proof.of("values", reason, prod(program.order.cells), failures)


def _calming(subject: LoopSubject, program: Program, stage: int) -> Stage:
    """The stage with a hook that keeps values small: errors of rounding must not grow from cell to cell."""
    mixed, like = mixing(program, stage), subject.given[program.stages[stage].feeds]

    def calm(cells: Cells) -> Tensor:
        scaled = {name: torch.sin(x.double()) for name, x in cells.outputs.items()}
        found = torch.sin(mixed.hook(replace(cells, outputs=scaled)) / 2.0**20)
        return found if like.is_floating_point() else (found > 0).to(like.dtype)

    return replace(mixed, hook=calm)
