"""Proofs about loops: nothing is read before it is made, and the whole net, run on what was made, makes it again."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..engine.loop.loop import Loop
from ..engine.loop.machine import LoopMachine
from ..engine.loop.program import Program
from ..engine.loop.stage import Cells, Stage
from ..engine.schedules.regions import run_regions
from ..engine.slab.frame import Frame, SlabTensor
from ..errors import NoSlabError, NoTwin
from ..planning.stages import RASTER, WAVEFRONT
from ..planning.wavefront import Order
from ..propagate.regions import whole_region
from ..trace.runnable import Constants
from ..trace.stand_in import of_type
from .against_whole import FAILURES, TOLERANCE, said
from .dependency import lively
from .fillings import same_bits
from .kernel_settings import exact_kernels
from .result import NOT_APPLICABLE, SCHEMA_VERSION, Proof, all_proved
from .twin import Modular, residues, twin_of

FILLINGS = ((1e4, -3e7), (0.7, -1.3))
"""Pairs of values for cells that are not made yet. Large ones, and some that saturate nothing."""
MOST_TIMES = 24
"""The order is looked at so often, spread over all steps."""


@dataclass(frozen=True)
class LoopVerification:
    """All proofs of one loop at its size, in one order.

    >>> left = nn.Sequential(nn.ZeroPad2d((1, -1, 0, 0)), nn.Conv2d(1, 1, 1))
    >>> v = oc.verify(oc.Loop(left, [oc.Stage(("output",), lambda cells: cells["output"], feeds="input")], (1, 1, 2, 4)))
    >>> v.proved, [proof.name for proof in v.proofs]
    (True, ['order', 'fixed point', 'values'])
    """

    proofs: tuple[Proof, ...]
    order: str
    cells: tuple[int, ...]
    steps: int
    device: str
    torch: str

    @property
    def proved(self) -> bool:
        """Everything that applies is proved, and something applies."""
        return all_proved(self.proofs)

    def __getitem__(self, name: str) -> Proof:
        return next(proof for proof in self.proofs if proof.name == name)

    def to_dict(self) -> dict[str, Any]:
        return {"schema_version": SCHEMA_VERSION, "proved": self.proved, **asdict(self)}


def verify_loop(loop: Loop, inputs: Sequence[Tensor] | None, order: str, device: torch.device) -> LoopVerification:
    """See `verify`. inputs: those that the loop is given; noise if absent."""
    subject = LoopSubject.of(loop, inputs, device)
    program = subject.loop.program(order)
    with torch.no_grad(), exact_kernels():
        proofs = order_proof(subject, program), fixed_point(subject, program), loop_values(subject, program)
    return LoopVerification(proofs, order, loop.cells, program.order.steps, str(device), torch.__version__)


@dataclass(frozen=True)
class LoopSubject:
    """A loop as the proofs run it: in float64, with hooks of their own, which mix all that a stage is given.

    The user's own hooks may be coders or draw at random; they are never called.
    """

    loop: Loop
    net: nn.Module
    livelier: nn.Module
    given: Mapping[str, Tensor]
    device: torch.device

    @staticmethod
    def of(loop: Loop, inputs: Sequence[Tensor] | None, device: torch.device) -> LoopSubject:
        wide = of_type(copy.deepcopy(loop.net).eval().to(device), torch.float64)
        examples = [_noise(shape, kind, i) for i, (shape, kind) in enumerate(
            zip(loop.analysis.inputs.values(), loop.calls.types, strict=True))]  # fmt: skip
        own = Loop(wide, loop.stages, *examples, **loop.options)
        given = dict(zip(loop.analysis.inputs, examples, strict=True))
        for name, x in loop.named(inputs).items() if inputs is not None else ():
            given[name] = x.double() if x.is_floating_point() else x
        return LoopSubject(own, wide, lively(copy.deepcopy(wide)), {k: x.to(device) for k, x in given.items()}, device)

    def whole(self, net: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs that stages take, by name, of one whole run."""
        leaves = tree_leaves(net(*(x.clone() for x in inputs.values())))
        names = self.loop.analysis.variants.net.traced.leaves
        found = {name: leaf for name, leaf in zip(names, leaves, strict=True) if name}
        return {name: found[name] for stage in self.loop.stages for name in stage.outputs}


def _noise(shape: Sequence[int], kind: torch.dtype, seed: int) -> Tensor:
    """Normal noise; of whole numbers and truths, zeros and ones, which are valid indices."""
    generator = torch.Generator().manual_seed(seed)
    if kind.is_floating_point:
        return torch.randn(tuple(shape), generator=generator, dtype=torch.float64, device="cpu")
    return torch.randint(0, 2, tuple(shape), generator=generator, device="cpu").to(kind)


# ---- order ----------------------------------------------------------------------------------------------------


def order_proof(subject: LoopSubject, program: Program) -> Proof:
    """What is not made yet is replaced: the outputs of a step's cells must stay the same, bit for bit.

    The control: with what was made just before replaced, too, they must not. In raster order, with all that was made.
    """
    times = sorted({int(t) for k in range(len(program.stages)) for t in program.times(k).unique()})
    chosen = [times[i * (len(times) - 1) // max(1, min(MOST_TIMES, len(times)) - 1)]
              for i in range(min(MOST_TIMES, len(times)))]  # fmt: skip
    failures, checks, seen, asked = list[str](), 0, 0, 0
    exact, slow = subject.loop.exact, program.order.name == RASTER  # there, cells may not read the one before
    for time in chosen:
        late = _cells_made(program, lambda made: made >= time)
        before = [t for t in times if (slow or t >= time - len(program.stages)) and t < time]
        just = _cells_made(program, lambda made: (made >= time) | torch.isin(made, torch.tensor(before)))
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


def _cells_made(program: Program, when: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """For each input that is made, the cells whose time fulfils a condition."""
    return {stage.feeds: when(program.times(k)) for k, stage in enumerate(program.stages)}


def _filled(
    subject: LoopSubject, program: Program, cells: Mapping[str, Tensor], value: float
) -> dict[str, Tensor]:
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
    return [_cells_of(program, name, outputs[name])[chosen] for name in program.stages[stage].outputs]


def _cells_of(program: Program, shown: str, y: Tensor) -> Tensor:
    """An output as (cells, samples, width)."""
    node = program.outputs[shown]
    form = program.form(node)
    return form.rows(y, form.sizes)[program.cell_samples[node].to(y.device)]


def _same(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    return all(bool(same_bits(x, y).all()) for x, y in zip(a, b, strict=True))


def _finite(a: Sequence[Tensor]) -> bool:
    return all(bool(x.isfinite().all()) for x in a if x.is_floating_point())


# ---- fixed point ----------------------------------------------------------------------------------------------


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
        control = _in_integers(subject, _hurried(program), twin) if program.order.steps > 1 else 1
    except (NoTwin, NoSlabError) as error:
        return Proof(name, NOT_APPLICABLE, str(error))
    except FAILURES as error:
        return Proof.of(name, reason, 1, [said(error)])
    failures = [f"{wrong} cells are not what the whole net makes"] if wrong else []
    if not control and subject.loop.exact:
        failures.append("the control is a fixed point, too: steps made in one read nothing that is not made")
    return Proof.of(name, reason, count, failures)


def _hurried(program: Program) -> Program:
    """The same with the cells of two steps made in one; in raster order, where neighbours may read nothing of each
    other, those of all."""
    every = 2 if program.order.name == WAVEFRONT else prod(program.order.cells)
    stages = tuple(Order(order.cells, tuple(t // every for t in order.times)) for order in program.order.stages)
    return replace(program, order=replace(program.order, stages=stages))


def _in_integers(subject: LoopSubject, program: Program, twin: nn.Module) -> int:
    """How many cells a whole run on what the loop made makes otherwise."""
    state = {**dict(twin.named_parameters(remove_duplicate=False)), **dict(twin.named_buffers(remove_duplicate=False))}
    inputs = {k: residues(tuple(x.shape), 11 + i, x.device) if x.is_floating_point() else x
              for i, (k, x) in enumerate(subject.given.items())}  # fmt: skip
    mixed = replace(program, stages=tuple(_mixing(program, k) for k in range(len(program.stages))))
    frame = _frame(subject, program, state, inputs)
    types = {stage.feeds: inputs[stage.feeds].dtype for stage in program.stages}
    with Modular() as mode:
        mode.entered("", inputs.values())
        machine = LoopMachine(mixed, frame, subject.loop.calls, inputs, types)
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


def _frame(subject: LoopSubject, program: Program, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> Frame:
    """What is made of padding alone derives from `like`, which must count as data: so it is a part of an input."""
    like = next((x[:0] for x in inputs.values() if x.is_floating_point()), None)
    like = torch.empty(0, dtype=torch.float64, device=subject.device) if like is None else like
    return Frame(program.net, Constants(subject.loop.calls, state, subject.device), like, None)


def _mixing(program: Program, stage: int) -> Stage:
    """The stage with a hook that mixes all of its outputs: a product with a matrix, and something of its own, so that
    zeros do not stay zeros."""
    said_of = program.stages[stage]
    width = program.form(said_of.feeds).width * prod(program.cell_of(said_of.feeds))
    shape = program.cell_shape(said_of.feeds)

    def mix(cells: Cells) -> Tensor:
        x = torch.cat([cells[name].reshape(len(cells), -1).to(torch.float64) for name in said_of.outputs], 1)
        mixed = x @ residues((x.shape[1], width), 97 + stage, x.device) + residues((width,), 43 + stage, x.device)
        return mixed.reshape(len(cells), *shape)

    return replace(said_of, hook=mix)


def _made_again(
    subject: LoopSubject, program: Program, frame: Frame, inputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """What the hooks make of a whole run, call by call: for each input that is made, (cells, ...)."""
    net = program.net
    regions = {node.name: whole_region(net, node.name) for node in net.graph}
    held = {name: SlabTensor(x, regions[name]) for name, x in inputs.items()}
    outputs = run_regions(frame, subject.loop.calls, regions, held)
    found = {}
    for stage in program.stages:
        taken = {}
        for shown in stage.outputs:
            node = program.outputs[shown]
            cells = _cells_of(program, shown, outputs[node].tensor)
            taken[shown] = program.form(node).tensors(cells, program.cell_of(node))
        places = tuple(p for front in program.order.stages[0].fronts for p in front)
        found[stage.feeds] = stage.hook(Cells(places, taken))
    return found


def _differing(program: Program, name: str, fed: Tensor, again: Tensor) -> int:
    """How many cells differ."""
    form = program.form(name)
    own = form.rows(fed, form.sizes)[program.cell_samples[name].to(fed.device)]
    other = form.rows_of_each(again, program.cell_of(name)).to(own.dtype)
    return int((~same_bits(own, other)).flatten(1).any(1).sum())


# ---- values ---------------------------------------------------------------------------------------------------


def loop_values(subject: LoopSubject, program: Program) -> Proof:
    """The same in float64, within what kernels of different shapes may round."""
    calm = replace(program, stages=tuple(_calming(subject, program, k) for k in range(len(program.stages))))
    state = {
        **dict(subject.net.named_parameters(remove_duplicate=False)),
        **dict(subject.net.named_buffers(remove_duplicate=False)),
    }
    frame = _frame(subject, program, state, subject.given)
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
            _cells_of(program, shown, outputs[shown]), program.cell_of(program.outputs[shown]))
            for shown in stage.outputs}  # fmt: skip
        again = stage.hook(Cells(tuple(p for f in program.order.stages[0].fronts for p in f), cells))
        form = program.form(stage.feeds)
        own = form.rows(fed[stage.feeds], form.sizes)[program.cell_samples[stage.feeds].to(again.device)]
        other = form.rows_of_each(again, program.cell_of(stage.feeds))
        if not own.is_floating_point():
            continue  # rounding may turn a whole number
        error = float((own - other).abs().max())
        if not error <= TOLERANCE:
            failures.append(f"{stage.feeds} is off by {error:.2g}")
    return Proof.of("values", reason, prod(program.order.cells), failures)


def _calming(subject: LoopSubject, program: Program, stage: int) -> Stage:
    """The stage with a hook that keeps values small: errors of rounding must not grow from cell to cell."""
    mixing, like = _mixing(program, stage), subject.given[program.stages[stage].feeds]

    def calm(cells: Cells) -> Tensor:
        scaled = {name: torch.sin(x.double()) for name, x in cells.outputs.items()}
        found = torch.sin(mixing.hook(replace(cells, outputs=scaled)) / 2.0**20)
        return found if like.is_floating_point() else (found > 0).to(like.dtype)

    return replace(mixing, hook=calm)
