"""Proofs 4 and 5: the result of a schedule, against the whole run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from ..algebra.spans import Span
from ..analysis.named import Named
from ..analysis.variants import Variants
from ..engine import Machine
from ..engine.assemble import assemble
from ..errors import NoSlabError, NoTwin, WrongTileError
from ..ops.layout import BATCH
from ..planning.plan import Plan
from .fillings import same_bits
from .result import NOT_APPLICABLE, Figures, Proof
from .twin import Modular, residues, twin_of

TOLERANCE = 1e-12
"""For values in float64: max |difference| / max |whole|."""


WHOLE = 1 << 60
"""A band longer than any axis."""
FAILURES = (WrongTileError, RuntimeError, ValueError, IndexError, AssertionError)
"""What a net raises on a tile that is too short for it, or the engine where the net behaves differently on it."""


def said(error: Exception) -> str:
    """Why the blocks could not be run. Raises the error again if memory ran out, which says nothing about the net."""
    if isinstance(error, torch.OutOfMemoryError):
        raise error
    lines = str(error).strip().splitlines() or [""]
    return str(error) if isinstance(error, WrongTileError) else f"the net fails on a tile: {lines[0]}"


def whole(model: nn.Module, plan: Plan, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The outputs of one run on the whole image, by name. Runs on copies, because a net may write to its inputs."""
    with torch.no_grad():
        leaves = tree_flatten(model(*(x.clone() for x in inputs.values())))[0]
    named = {name: leaf for name, leaf in zip(plan.leaves, leaves, strict=True) if name}
    return {name: named[name] for name in plan.outputs}


def by_blocks(machine: Machine, inputs: Mapping[str, Tensor], *, poison: float | None = None) -> dict[str, Tensor]:
    """The same by blocks; what no block covers stays NaN. Raises WrongTileError, NoSlabError."""
    with torch.no_grad():
        return assemble(machine.blocks(inputs, poison=poison), machine.plan, room=_unwritten)


def _unwritten(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    return like.new_full(shape, torch.nan if like.is_floating_point() or like.is_complex() else 0)


def exact_twin(
    model: nn.Module, variants: Variants, plan: Plan, given: Mapping[str, Tensor], device: torch.device
) -> Proof:
    """Integers modulo a prime leave no room for rounding: blocks and whole must be bit-identical.

    given: the inputs; integers, which may be indices, stay as they are. For a schedule that runs call by call, the
    whole runs that way too: the calls have a twin of their own.
    """
    name = "exact twin"
    inputs = {
        name: residues(tuple(x.shape), 11 + i, device) if x.is_floating_point() else x
        for i, (name, x) in enumerate(given.items())
    }
    try:
        twin = twin_of(model)
        machine = Machine(twin, variants, in_memory(plan))
        if plan.schedule == "crop":
            with Modular():
                full = whole(twin, plan, inputs)
            with Modular():
                tiled = by_blocks(machine, inputs)
        else:
            everything = Machine(twin, variants, at_once(plan))
            full, tiled = _call_by_call(everything, inputs), _call_by_call(machine, inputs)
    except (NoTwin, NoSlabError) as error:
        return Proof(name, NOT_APPLICABLE, str(error))
    except FAILURES as error:
        return Proof.of(name, "blocks against the whole in integers", 1, [said(error)])
    failures = []
    for output, y in full.items():
        wrong = int((~same_bits(y, tiled[output])).sum())
        if wrong:
            first = _first(plan, output, y, tiled[output])
            failures.append(f"{wrong} of {y.numel()} samples of {output} differ{first}")
    return Proof.of(name, f"{plan.count} blocks against the whole in integers modulo a prime", plan.count, failures)


def _call_by_call(machine: Machine, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    assert machine.calls is not None  # traced before the mode is on
    with Modular() as mode:
        mode.entered("", inputs.values())
        try:
            return by_blocks(machine, inputs)
        finally:
            mode.left()


def in_memory(plan: Plan) -> Plan:
    """The same plan, with nothing on disk: what is read from a file is no residue of what was written."""
    if plan.passes is None:
        return plan
    return replace(plan, passes=replace(plan.passes, stored=tuple(replace(t, kept=True) for t in plan.passes.stored)))


def at_once(plan: Plan) -> Plan:
    """The same image in one block, each layer whole; for passes, each pass in one band."""
    if plan.passes is not None:
        strips = {axis: strip for axis, strip in plan.strips.items() if axis != BATCH}  # all images at once
        return in_memory(replace(plan, strips=strips, passes=replace(plan.passes, rows=WHOLE)))
    strips = {}
    for axis, strip in plan.strips.items():
        ends = {
            name: Span(0, n)
            for name, shape in plan.outputs.items()
            for n, label in zip(shape, plan.labels[name], strict=True)
            if label == axis
        }
        tiles = {
            name: Span(0, n)
            for name, shape in plan.inputs.items()
            for n, label in zip(shape, plan.labels[name], strict=True)
            if label == axis
        }
        slot = replace(
            strip.slots[0], outputs=Named(ends), reads=Named(tiles), tiles=Named(tiles), given=Named(ends),
            first=0, last=0,
        )  # fmt: skip
        strips[axis] = replace(strip, slots=(slot,))
    return replace(plan, schedule="trim", stream_axis=None, strips=strips)


def _first(plan: Plan, output: str, y: Tensor, z: Tensor) -> str:
    """The first position at which they differ."""
    at = (~same_bits(y, z)).nonzero()[0].tolist()
    named = [f"{axis} {i}" for i, axis in zip(at, plan.labels[output], strict=True) if axis]
    return f", the first at {', '.join(named)}" if named else ""


def values(figures: Sequence[Figures], precision: Precision, *, bit_exact: bool, refused: str = "") -> Proof:
    """Blocks against the whole in float64, to a tolerance that kernels of different shapes meet."""
    if refused:
        return Proof.of("values", "blocks against the whole", 1, [refused])
    failures = []
    for f, allowed, how in precision.judged:
        if not f.error <= allowed:
            failures.append(f"in {how} the largest error is {f.error:.2g} of the largest value; {allowed:g} is allowed")
    own = figures[-1]
    if bit_exact and own.identical < 1:
        failures.append(f"in {own.dtype} only {own.identical:.4%} of the samples are bit-identical")
    what = f"blocks against the whole in {precision.said}"
    checks = len(figures) + len(precision.judged) - 1
    return Proof.of("values", what + (f"; bit-identical in {own.dtype}" if bit_exact else ""), checks, failures)


@dataclass(frozen=True)
class Precision:
    """What the proof of values rests on. judged: figures, the allowed error, and how they were run.
    said: all of it in words."""

    judged: tuple[tuple[Figures, float, str], ...]
    said: str
