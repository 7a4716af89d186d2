"""The outputs of the whole net, run on what the loop made, are those that the loop had: in float64, within rounding."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import torch
from torch import Tensor, nn

from ...engine.loop.machine import LoopMachine
from ...engine.loop.program import Program
from ...engine.loop.stage import Cells, Stage
from ..against_whole import FAILURES, TOLERANCE, said
from ..result import NOT_APPLICABLE, Proof
from .fixed_point import fails, hurried
from .subject import LoopSubject, cells_of, every_cell, frame_of, mixing


def loop_values(subject: LoopSubject, program: Program) -> Proof:
    """Cell by cell, with the net's weights and with livelier ones. Errors are relative to the largest value.

    The control, with the livelier weights where they give finite values: a loop that makes the cells of two steps in
    one must be off.
    """
    reason = f"whole net on what the loop made, in float64, error at most {TOLERANCE:g}"
    failures, checks, judged = list[str](), 0, subject.net
    try:
        for net in (subject.net, subject.livelier):
            off = _off(subject, program, net)
            if off is None:
                continue
            checks, judged = checks + prod(program.order.cells), net
            if not off <= TOLERANCE:
                failures.append(f"an output is off by {off:.2g} of the largest value")
    except FAILURES as error:
        return Proof.of("values", reason, 1, [said(error)])
    failing = subject.loop.steps() == 1 or fails(
        lambda: not (_off(subject, hurried(program), judged) or 0) <= TOLERANCE
    )
    if not failing and not failures:
        why = "the control is not off: these values hide what is read before it is made"
        return Proof("values", NOT_APPLICABLE, why if checks else "the outputs of the net are not finite")
    return Proof.of("values", reason, checks, failures)


def _off(subject: LoopSubject, program: Program, net: nn.Module) -> float | None:
    """The largest error of any output; None where the whole net gives outputs that are not finite."""
    seen: dict[str, dict[tuple[int, ...], Tensor]] = {}
    calm = replace(program, stages=tuple(_calming(subject, program, k, seen) for k in range(len(program.stages))))
    state = {**dict(net.named_parameters(remove_duplicate=False)), **dict(net.named_buffers(remove_duplicate=False))}
    frame = frame_of(subject, program, state, subject.given)
    machine = LoopMachine(calm, frame, subject.loop.calls, subject.given, torch.float64, judged=False)
    machine.run()
    fed = {stage.feeds: machine.fed(stage.feeds) for stage in program.stages}
    outputs, worst = subject.whole(net, {**subject.given, **fed}), 0.0
    for shown, cells in seen.items():
        node = program.outputs[shown]
        whole = program.form(node).tensors(cells_of(program, shown, outputs[shown]), program.cell_of(node))
        own = torch.stack([cells[place] for place in every_cell(program)])
        if not bool(whole.isfinite().all()):
            return None
        kind = torch.complex128 if whole.is_complex() else torch.float64
        away = float((own.to(kind) - whole.to(kind)).abs().max()) / max(float(whole.to(kind).abs().max()), 1e-300)
        worst = away if away != away else max(worst, away)
    return worst


def _calming(
    subject: LoopSubject, program: Program, stage: int, seen: dict[str, dict[tuple[int, ...], Tensor]]
) -> Stage:
    """The stage with a hook that keeps values small, so that errors of rounding do not grow from cell to cell, and that
    remembers what it was given."""
    mixed, like = mixing(program, stage), subject.given[program.stages[stage].feeds]

    def calm(cells: Cells) -> Tensor:
        for name, x in cells.outputs.items():
            seen.setdefault(name, {}).update(zip(cells.places, x, strict=True))
        scaled = {name: torch.sin(x.double()) for name, x in cells.outputs.items()}
        found = torch.sin(mixed.hook(replace(cells, outputs=scaled)) / 2.0**20)
        return found if like.is_floating_point() else (found > 0).to(like.dtype)

    return replace(mixed, hook=calm)
