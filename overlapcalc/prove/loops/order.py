"""Nothing is read before it is made: whole runs, with what is not made yet replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ...engine.loop.program import Program
from ...planning.stages import RASTER
from ..fillings import same_bits
from ..result import NOT_APPLICABLE, PROVED, Proof
from .subject import LoopSubject, cells_of, noise

FILLINGS = (1e4, -3e7, 0.7, -1.3, None, None)
"""Values for cells that are not made yet: large ones, some that saturate nothing, and noise (None)."""
MOST_TIMES = 24
"""The order is looked at so often, spread over all steps."""


def order_proof(subject: LoopSubject, program: Program) -> Proof:
    """What is not made yet is replaced: the outputs of a step's cells must stay the same, bit for bit.

    The control: with what was made just before replaced, too, they must not; in raster order, with all that was made.
    Where values hide it at every step, nothing is proved; where at some, the order may be longer than need be.
    """
    times, stages = program.all_times, len(program.stages)
    chosen = [times[i * (len(times) - 1) // max(1, min(MOST_TIMES, len(times)) - 1)]
              for i in range(min(MOST_TIMES, len(times)))]  # fmt: skip
    failures, checks, idle = list[str](), 0, list[int]()
    slow = program.order.name == RASTER  # there, cells may not read the one before
    waits = subject.loop.steps() > 1
    for time in chosen:
        before = [t for t in times if (slow or t >= time - stages) and t < time]
        late, just = _cells_since(program, time), _cells_since(program, min(before, default=time))
        same, moved = True, False
        for net in (subject.net, subject.livelier):
            first = _taken(subject, program, net, time, subject.given)
            if not _finite(first):
                continue
            for i, value in enumerate(FILLINGS):
                same = same and _same(
                    first, _taken(subject, program, net, time, _filled(subject, program, late, value, i))
                )
                moved = moved or not _same(
                    first, _taken(subject, program, net, time, _filled(subject, program, just, value, i))
                )
                checks += 1
        if not same:
            failures.append(f"at step {time // stages} a cell reads what is not made yet")
        if not moved and time >= stages:
            idle.append(time // stages)
    asked = sum(time >= stages for time in chosen)
    if waits and asked and len(idle) == asked and not failures:
        why = "the control changed nothing: no cell was seen to read what was made before it"
        return Proof("order", NOT_APPLICABLE, why)
    reason = f"whole runs at {len(chosen)} of {len(times)} times, with what is not made yet replaced"
    proof = Proof.of("order", reason, checks, failures)
    if proof.status == PROVED and waits and not slow and idle:
        text = f"at {len(idle)} of {asked} steps nothing was seen to be read of the one before: they may not be needed"
        return replace(proof, caveat=text)
    return proof


def _cells_since(program: Program, time: int) -> dict[str, Tensor]:
    """For each input that is made, which cells are made at this time or later."""
    return {stage.feeds: program.times(k) >= time for k, stage in enumerate(program.stages)}


def _filled(
    subject: LoopSubject, program: Program, cells: Mapping[str, Tensor], value: float | None, seed: int
) -> dict[str, Tensor]:
    """The inputs, with another value in some cells, or noise. Whole numbers, which may be indices, are 0 and 1 anew."""
    found = dict(subject.given)
    for name, chosen in cells.items():
        form, x = program.form(name), found[name]
        rows = form.rows(x, form.sizes).clone()
        at = program.cell_samples[name][chosen].flatten().to(x.device)
        if x.is_floating_point() and value is not None:
            rows[at] = value
        elif x.is_floating_point():
            rows[at] = noise(rows[at].shape, x.dtype, 50 + seed).to(rows)
        elif x.dtype == torch.bool:
            rows[at] = ~rows[at]
        else:
            rows[at] = 1 - rows[at]
        found[name] = form.tensor(rows, form.sizes).contiguous()
    return found


def _taken(
    subject: LoopSubject, program: Program, net: nn.Module, time: int, inputs: Mapping[str, Tensor]
) -> list[Tensor]:
    """What the stage of a time takes of a whole run."""
    stage = time % len(program.stages)
    outputs = subject.whole(net, inputs)
    chosen = (program.times(stage) == time).nonzero().flatten()
    return [cells_of(program, name, outputs[name])[chosen] for name in program.stages[stage].outputs]


def _same(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    return all(bool(same_bits(x, y).all()) for x, y in zip(a, b, strict=True))


def _finite(a: Sequence[Tensor]) -> bool:
    return all(bool(x.isfinite().all()) for x in a if x.is_floating_point())
