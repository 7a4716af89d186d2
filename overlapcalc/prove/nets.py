"""A net as the proofs run it: in float64, as it is and with its operands moved, whole and by blocks."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from ..analysis.variants import Variants
from ..engine import Machine
from ..errors import InputError, OverlapcalcError, TraceError
from ..planning.plan import Plan
from ..trace.runnable import type_matters
from ..trace.stand_in import of_type
from .against_whole import FAILURES, TOLERANCE, Precision, at_once, by_blocks, said, whole
from .figures import compared, timed
from .result import Figures
from .spread import OtherCallsError, Outputs, Spread, spread_out
from .watch import WatchedMachine, Watching
from .widened import Widened, coarsest, rounding_allowed, wide_type


@dataclass
class Nets:
    """model: the user's. traced: the same as traced, in its own type. given: inputs in the type of the figures.

    widened: casts to narrower types are suppressed, because the net does not run in float64 otherwise; `check` finds
    that out.
    """

    model: nn.Module
    traced: Variants
    plan: Plan
    given: Mapping[str, Tensor]
    device: torch.device
    widened: bool = False

    @cached_property
    def wide(self) -> nn.Module:
        return of_type(copy.deepcopy(self.model).eval().to(device=self.device), torch.float64)

    @cached_property
    def inputs(self) -> dict[str, Tensor]:
        return {name: x.to(wide_type(x.dtype)) for name, x in self.given.items()}

    @cached_property
    def variants(self) -> Variants:
        """The net as traced in float64."""
        return self.in_type(torch.float64)

    def in_type(self, dtype: torch.dtype) -> Variants:
        """The net as traced in a type. The trace in its own type is enough where types make no difference."""
        shapes = tuple(self.plan.inputs.values())
        calls = self.traced.runnable(shapes)
        same = all(t == dtype for t in calls.types if t.is_floating_point)
        if same or self.traced.typed is None or not type_matters(calls):
            return self.traced
        try:
            found = self.traced.typed(_name(dtype), calls)
        except TraceError:
            return self.traced
        if self.plan.schedule == "crop":
            return found
        found.runnable(shapes)  # now, rather than under a mode that changes what is traced
        return found.here

    @property
    def traced_in(self) -> torch.dtype:
        """The net's own type, in which it was traced."""
        calls = self.traced.runnable(tuple(self.plan.inputs.values()))
        return coarsest(calls.types) or torch.float64

    @property
    def cast_up(self) -> bool:
        """Whether calls that could only be traced in a narrower type, and have its constants, run in float64."""
        return self.widened and self.plan.schedule != "crop" and self.variants is self.traced

    def run(
        self, inputs: Mapping[str, Tensor], *, model: nn.Module | None = None, spread: Spread | None = None
    ) -> Outputs:
        """The whole net in float64. spread: watched, or with its operands moved."""
        model = model or self.wide
        with contextlib.ExitStack() as stack:
            stack.enter_context(_widened(self.widened))
            if spread is not None:
                names = {module: name for name, module in model.named_modules()}
                stack.enter_context(Watching(spread, inputs.values(), names))
            return whole(model, self.plan, inputs)

    def widening(self) -> contextlib.AbstractContextManager[object]:
        """In which the net runs in float64 where `check` found that it does not otherwise."""
        return _widened(self.widened)

    def spread(self, inputs: Mapping[str, Tensor]) -> tuple[Spread, ...]:
        """The net as it is, and with its operands moved where that enters further branches."""
        return spread_out(lambda spread: self.run(inputs, spread=spread))

    def check(self) -> None:
        """Find out how the whole net runs in float64. Raises InputError where it does not: then there is nothing to
        compare with."""
        try:
            self.run(self.inputs)
            return
        except OverlapcalcError:
            raise
        except Exception as error:  # a net raises whatever it likes
            first = error
        self.widened = True
        try:
            self.run(self.inputs)
        except OverlapcalcError:
            raise
        except Exception as error:
            text = (str(first).strip().splitlines() or [""])[0]
            shapes = ", ".join("x".join(map(str, x.shape)) for x in self.inputs.values())
            raise InputError(f"the net does not run on {shapes} in float64 ({type(first).__name__}: {text})") from error


def measured(nets: Nets, own: torch.dtype | None) -> tuple[list[Figures], Precision, str]:
    """Blocks against the whole in float64 and in the type of the figures, and what the proof of values judges; or why
    the blocks cannot be run.

    own: the type of the figures; None leaves the net as it is, with mixed types or not.
    """
    figures: list[Figures] = []
    narrow = copy.deepcopy(nets.model).eval().to(device=nets.device)
    variants, kind = nets.traced, nets.traced_in
    if own is not None:
        narrow, variants, kind = of_type(narrow, own), nets.in_type(own), own
    precision = Precision((), "float64")
    try:
        with _widened(nets.widened):
            machine = Machine(nets.wide, nets.variants, nets.plan)
            figures.append(_compared("float64", nets.wide, machine, nets.inputs, nets.device))
        precision = _judged(nets, figures[0])
        machine = Machine(narrow, variants, nets.plan)
        figures.append(_compared(_name(kind), narrow, machine, nets.given, nets.device))
    except FAILURES as error:
        return figures, precision, said(error)
    return figures, precision, ""


def _compared(
    dtype: str, model: nn.Module, machine: Machine, inputs: Mapping[str, Tensor], device: torch.device
) -> Figures:
    full = timed(partial(whole, model, machine.plan, inputs), device)
    return compared(dtype, full, timed(partial(by_blocks, machine, inputs), device))


def _judged(nets: Nets, wide: Figures) -> Precision:
    """What is judged: the net as it is; in float64 throughout, if it is coarser on the way; moved into branches."""
    watching = Watching(Spread(), nets.inputs.values())
    with _widened(nets.widened), watching:
        whole(nets.wide, nets.plan, nets.inputs)
    narrowest = coarsest(watching.types) or torch.float64
    exact = torch.finfo(narrowest).eps <= torch.finfo(torch.float64).eps
    if exact and nets.cast_up:
        return Precision(
            ((wide, rounding_allowed(nets.traced_in), "float64"),),
            f"float64, error at most {rounding_allowed(nets.traced_in):g}: the constants of its calls are "
            f"{_name(nets.traced_in)}",
        )
    exactly = TOLERANCE if nets.plan.passes is None else PASSES_TOLERANCE
    allowed = exactly if exact else rounding_allowed(narrowest)
    judged, words = [(wide, allowed, "float64")], f"float64, error at most {allowed:g}"
    if not exact:
        words += f", which {_name(narrowest)} on the way can hold ({watching.types[narrowest]})"
        try:
            with _widened(True):
                machine = Machine(nets.wide, nets.variants, nets.plan)
                again = _compared("float64", nets.wide, machine, nets.inputs, nets.device)
        except TypeError:
            return Precision(tuple(judged), words)
        judged.append((again, exactly, f"float64 in the place of {_name(narrowest)}"))
        words += f"; at most {exactly:g} with float64 in its place"
    with _widened(nets.widened or not exact):
        moved = _moved(nets)
    judged += [(f, MOVED_TOLERANCE, "float64, with the operands of its comparisons moved,") for f in moved]
    if moved:
        words += f"; at most {MOVED_TOLERANCE:g} with the operands of its comparisons moved"
    return Precision(tuple(judged), words)


def _moved(nets: Nets) -> list[Figures]:
    """Blocks against the whole, with operands moved into branches that the net as it is does not enter."""
    by_calls = nets.plan.schedule != "crop"
    if nets.variants.net.loops and not by_calls:
        return []  # which call of a tile is which of the image, if each turn of a loop makes its own?
    everything = at_once(nets.plan)

    def run(spread: Spread) -> Outputs:
        if by_calls:
            return by_blocks(WatchedMachine(nets.wide, nets.variants, everything, spread), nets.inputs)
        with Watching(spread, nets.inputs.values()):
            return whole(nets.wide, nets.plan, nets.inputs)

    found = []
    for spread in spread_out(run)[1:]:
        with contextlib.suppress(OtherCallsError):
            blocks = by_blocks(WatchedMachine(nets.wide, nets.variants, nets.plan, spread), nets.inputs)
            found.append(compared("float64", (run(spread), 0, 0.0), (blocks, 0, 0.0)))
    return found


PASSES_TOLERANCE = 1e-11
"""That of passes, whose sums and moments are taken in another order."""
MOVED_TOLERANCE = 1e-9
"""The tolerance where operands are moved: samples near a threshold of 1e6 have fewer digits than before."""


def _widened(on: bool) -> contextlib.AbstractContextManager[object]:
    found: Any = Widened() if on else contextlib.nullcontext()  # type: ignore[no-untyped-call]
    return found  # type: ignore[no-any-return]


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
