"""`plan`: how a net would be run by blocks, given a block size, a memory budget, or the memory that is free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..analysis.analysis import Analysis
from ..analysis.analyze import Inputs, analyze, analyze_here
from ..analysis.called import Kwargs, followed
from ..errors import Argument, InputError, NoSlabError, TraceError
from ..planning.byte_size import bytes_text
from ..planning.crop import make_plan
from ..planning.obstacles import runs_at_size_only, schedule_for
from ..planning.options import (
    AUTO,
    BLOCKING_OPTIONS,
    BLOCKWISE,
    PASSES,
    Blocking,
    BlockingOptions,
    default_block,
    refuse_beside_analysis,
    refuse_unknown,
    several_axes,
)
from ..planning.padding import Padding
from ..planning.plan import Plan
from ..stages import at_stage, noted
from .fit import Fitter, offering_padding
from .plan_passes import passes_plan
from .weigh import weighed

if TYPE_CHECKING:  # it comes with torch
    from typing_extensions import Unpack

BANDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
"""Block lengths of trim and stream that are tried for a budget."""
STRETCHES = (*BANDS, 4096, 8192, 16384, 32768, 65536, 131072, 262144)
"""The same for nets of one axis."""
PART = 0.8
"""The share of the free memory that is used."""


def plan(
    model: nn.Module | Analysis,
    inputs: Inputs | None = None,
    *,
    kwargs: Kwargs = None,
    stored: bool = False,
    dtype: torch.dtype | str | None = None,
    axes: Sequence[str] | str | None = None,
    layout: str | Sequence[str | None] | None = None,
    **options: Unpack[BlockingOptions],
) -> Plan:
    """How to run `model` by blocks on inputs of these shapes, and what that costs against running it whole.

    inputs, kwargs, axes, layout: as for `analyze`; the model may also be an Analysis. stored: inputs and outputs are
    arrays that are read and written by slices, such as files, so neither is held whole. dtype: the floating type to
    predict memory for. Options:

    block: the length of a block in samples of the finer of input and output, rounded up to whole outputs (256 when
    absent, bands of 32 for a stream; 8192 for a net of one axis): one for all axes; or {"W": 256}, and the other axes
    stay whole; or one per axis in their order, None for a whole one. For a stream a single number is the
    length of a band along the stream, and the other axes stay whole. memory: instead, a budget such as "2GiB", weights
    included: the blocks with the least work that fit. fixed_tile: instead, tiles of one length in samples of the input,
    those at the border moved inward.
    schedule: "crop", "trim", "stream" or "passes" (docs/mathematics.md); when absent crop, or with a budget the one
    with the least work; for a net with obstacles a stream or passes. "auto": a stream, or passes. stream_axis: the axis
    along which a stream or passes go, the longest when absent. disk: the most that passes may store on disk. spill: the
    folder for that, instead of one of the system's.
    pad_to_fit: "constant" (zeros), "replicate", "reflect" or "circular": inputs that the net does not take as they are
    get padded at the far end of each axis, to the least length at which it runs; with fixed_tile, to the least one that
    such tiles cover, so that one tile serves every image. The outputs are cut by what was padded over the scale,
    rounded down. The result is by definition that of the whole net on the padded inputs, cut.

    No forward pass is run. Raises InputError, TraceError, UnknownOperatorError; ObstacleError where the net cannot be
    run this way along these axes; NoSlabError where an operator has no way to run on a part of the image.

    >>> plan = oc.plan(nn.Conv2d(3, 8, 5, padding=2), (1, 3, 64, 96), block=32)
    >>> plan.count, plan.schedule, plan.strips["W"].slots[1].tiles["input"]
    (6, 'crop', Span(start=30, stop=66))
    """
    refuse_unknown(options, *BLOCKING_OPTIONS, "kwargs", "stored", "dtype", "axes", "layout")
    blocking = Blocking(**options)
    if isinstance(model, Analysis):
        refuse_beside_analysis(inputs=inputs, kwargs=kwargs, axes=axes, layout=layout)
    else:
        model, inputs = followed(model, inputs, kwargs)
    if blocking.pad_to_fit is not None:
        made, padding = Fitter(model, blocking, axes=axes, layout=layout).fit(inputs)
        return plan_of(made, blocking, stored=stored, dtype=dtype, padding=padding)
    if not isinstance(model, Analysis):
        alone = blocking.named_schedule == PASSES and isinstance(model, nn.Module)  # passes run at one size
        analysed = analyze_here if alone else analyze
        with offering_padding():
            model = analysed(model, inputs, axes=axes, layout=layout)
    return plan_of(model, blocking, stored=stored, dtype=dtype)


def plan_of(
    analysis: Analysis,
    blocking: Blocking,
    *,
    stored: bool = False,
    dtype: torch.dtype | str | None = None,
    padding: Padding | None = None,
) -> Plan:
    """The plan for an analysis. padding: what was padded for it. Raises what `plan` raises."""
    made = planned(analysis, blocking, stored=stored, dtype=dtype, padding=padding)
    _ = made.memory  # computed now, because a schedule that cannot run a layer must be refused now
    return noted("plan", made)


def planned(
    analysis: Analysis,
    blocking: Blocking,
    *,
    stored: bool = False,
    dtype: torch.dtype | str | None = None,
    padding: Padding | None = None,
    free: int | None = None,
) -> Plan:
    """The same, to be run: its memory is computed when it is first needed.

    free: bytes of memory, not counting weights. If no size is given and the usual blocks take too much of that, smaller
    ones are taken.
    """
    copied = 0 if stored else _copied(analysis, padding, floating_type(dtype))
    if copied and blocking.budget is not None:
        blocking = replace(blocking, memory=max(1, blocking.budget - copied))
    room = None if free is None else max(0, free - copied)
    try:
        made = _of_padded(analysis, blocking, stored=stored, dtype=dtype, free=room)
    except InputError as error:
        if not copied or blocking.budget is None:
            raise
        raise InputError(
            f"beside padded copies of the inputs, which take {bytes_text(copied)}: ", *error.args
        ) from error
    return replace(made, padding=padding, copied=copied)


def _copied(analysis: Analysis, padding: Padding | None, dtype: torch.dtype | None) -> int:
    """Bytes of padded copies of inputs."""
    if padding is None or not padding.any:
        return 0
    types = analysis.variants.runnable(tuple(analysis.inputs.values())).types
    held = 0
    for (name, shape), own in zip(padding.padded.items(), types, strict=True):
        kind = dtype if dtype is not None and own.is_floating_point else own
        held += prod(shape) * kind.itemsize if shape != padding.given[name] else 0
    return held


def _of_padded(
    analysis: Analysis, blocking: Blocking, *, stored: bool, dtype: torch.dtype | str | None, free: int | None
) -> Plan:
    """The plan for images as they are after padding."""
    kind = floating_type(dtype)
    if blocking.named_schedule == AUTO:
        blocking = replace(blocking, schedule=schedule_for(analysis, blocking))
    if schedule_for(analysis, blocking) == PASSES:
        name = None if kind is None else str(kind).removeprefix("torch.")
        room = None if free is None else int(PART * free)
        return passes_plan(analysis, blocking, stored=stored, dtype=name, room=room)
    planner = _Planner(analysis, blocking, stored, dtype)
    if blocking.budget is not None:
        return planner.within(blocking.budget)
    usual = planner.of(blocking)
    if free is None or blocking.sized or usual.memory is None or usual.memory.activations <= PART * free:
        return usual
    try:
        return planner.within(
            int(PART * free) + usual.memory.weights, most=default_block(analysis.layouts.values(), band=True)
        )
    except InputError as error:
        share = f"{bytes_text(free)} of memory are free, of which {PART:.0%} are used: "
        raise InputError(share, *error.args) from error


class _Planner:
    """Everything that stays the same while blocks are tried."""

    def __init__(self, analysis: Analysis, blocking: Blocking, stored: bool, dtype: torch.dtype | str | None) -> None:
        self._analysis, self._blocking, self._stored = analysis, blocking, stored
        floating = floating_type(dtype)
        self._dtype = None if floating is None else str(floating).removeprefix("torch.")

    def of(self, blocking: Blocking) -> Plan:
        """The plan for these blocks."""
        weigh = partial(weighed, self._analysis.variants)
        return make_plan(self._analysis, blocking, stored=self._stored, dtype=self._dtype, weigh=weigh)

    def within(self, budget: int, *, most: int | None = None) -> Plan:
        """The plan with the least work, over all schedules that fit into a budget. Raises InputError.

        most: the longest band of a stream.
        """
        self._refuse_too_little(budget)
        fitting: list[Plan] = []
        refused: list[InputError | NoSlabError] = []
        named = self._blocking.named_schedule
        schedules: tuple[str, ...] = BLOCKWISE if named is None else (named,)
        if named is None and runs_at_size_only(self._analysis):
            schedules = ("trim", "stream")
        for schedule in schedules:
            try:
                fitting.append(noted("plan", self._fitting(budget, schedule, most)))
            except (InputError, NoSlabError) as error:
                refused.append(error)
        if not fitting and len(refused) == 1:
            raise refused[0]
        if not fitting:
            raise InputError("; ".join(f"{name}: {error}" for name, error in zip(schedules, refused, strict=True)))
        return min(fitting, key=lambda made: (made.work.kernel_macs, made.memory.total if made.memory else 0))

    def _refuse_too_little(self, budget: int) -> None:
        """Raises InputError if the budget is below what every block needs, before any is tried."""
        try:
            whole = self._analysis.variants.run_memory(tuple(self._analysis.inputs.values()), self._dtype)
        except TraceError:
            return
        least = whole.weights + (0 if self._stored else whole.outputs)
        if budget < least:
            held = "the weights" if self._stored else "the weights and the output of the whole image"
            raise InputError(
                f"no block of this image fits into {bytes_text(budget)}: {held} take {bytes_text(least)} throughout"
            )

    def _fitting(self, budget: int, schedule: str, most: int | None) -> Plan:
        """The longest blocks of a schedule that fit; memory grows with their length."""
        at_stage(f"looking for blocks that fit, schedule {schedule}")
        if schedule == "crop":
            return self.of(replace(self._blocking, schedule=schedule, memory=budget))
        lengths = BANDS if several_axes(self._analysis.layouts.values()) else STRETCHES
        sizes = [n for n in lengths if most is None or schedule != "stream" or n <= most]
        best, low, high = None, 0, len(sizes)
        while low < high:
            middle = (low + high) // 2
            made = self.of(replace(self._blocking, schedule=schedule, memory=None, block=sizes[middle]))
            if made.memory is None:
                raise InputError("the memory of blocks cannot be predicted; give a block size")
            if made.memory.total <= budget:
                best, low = noted("plan", made), middle + 1
            else:
                least, high = made.memory.total, middle
        if best is None:
            held = "the weights" if self._stored else "the weights and the output of the whole image"
            raise InputError(
                f"no block of this image fits into {bytes_text(budget)} with the schedule {schedule}: {held} are held "
                f"throughout, and the least that was found is {bytes_text(least)}"
            )
        return best


def floating_type(dtype: torch.dtype | str | None) -> torch.dtype | None:
    """A floating type of torch, by name or as it is. Raises InputError."""
    if dtype is None:
        return None
    found = getattr(torch, str(dtype).removeprefix("torch."), None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise InputError(Argument("dtype", dtype), ": expected a floating type such as float16")
    return found
