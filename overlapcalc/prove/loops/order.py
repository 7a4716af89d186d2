"""Nothing is read before it is made: whole runs, with what is not made yet replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from ...engine.loop.program import Program
from ...planning.stages import RASTER
from ..fillings import same_bits
from ..result import Proof
from .subject import LoopSubject, cells_of

FILLINGS = ((1e4, -3e7), (0.7, -1.3))
"""Pairs of values for cells that are not made yet. Large ones, and some that saturate nothing."""
MOST_TIMES = 24
"""The order is looked at so often, spread over all steps."""


def order_proof(subject: LoopSubject, program: Program) -> Proof:
    """What is not made yet is replaced: the outputs of a step's cells must stay the same, bit for bit.

    The control: with what was made just before replaced, too, they must not. In raster order, with all that was made.
    """
    times = program.all_times
    chosen = [times[i * (len(times) - 1) // max(1, min(MOST_TIMES, len(times)) - 1)]
              for i in range(min(MOST_TIMES, len(times)))]  # fmt: skip
    failures, checks, seen, asked = list[str](), 0, 0, 0
    slow = program.order.name == RASTER  # there, cells may not read the one before
    exact = subject.loop.exact and subject.loop.steps() > 1
    for time in chosen:
        before = [t for t in times if (slow or t >= time - len(program.stages)) and t < time]
        late, just = _cells_since(program, time), _cells_since(program, min(before, default=time))
        changed, moved = False, False
        for net in (subject.net, subject.livelier):
            for pair in FILLINGS:
                first, second = (_taken(subject, program, net, time, _filled(subject, program, late, v)) for v in pair)
                if not _finite(first):
                    continue
                changed = changed or not _same(first, second)
                other = _taken(subject, program, net, time, _filled(subject, program, just, pair[1]))
                moved = moved or not _same(first, other)
                checks += 1
        if changed:
            failures.append(f"at step {time // len(program.stages)} a cell reads what is not made yet")
        if before:
            asked, seen = asked + 1, seen + moved
    if exact and asked and not seen:
        failures.append("the control changed nothing: no cell reads what was made before it")
    elif exact and not slow and seen < asked:
        failures.append(f"the control changed nothing at {asked - seen} of {asked} steps, so the order may be shorter")
    reason = f"whole runs at {len(chosen)} of {len(times)} times, with what is not made yet replaced"
    return Proof.of("order", reason, checks, failures)


def _cells_since(program: Program, time: int) -> dict[str, Tensor]:
    """For each input that is made, which cells are made at this time or later."""
    return {stage.feeds: program.times(k) >= time for k, stage in enumerate(program.stages)}


def _filled(subject: LoopSubject, program: Program, cells: Mapping[str, Tensor], value: float) -> dict[str, Tensor]:
    """The inputs, with another value in some cells."""
    found = dict(subject.given)
    for name, chosen in cells.items():
        form, x = program.form(name), found[name]
        rows = form.rows(x, form.sizes).clone()
        at = program.cell_samples[name][chosen].flatten().to(x.device)
        rows[at] = value if x.is_floating_point() else (1 - rows[at] if value > 0 else rows[at])
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
