"""`plan`: how a net would be run by blocks, by a block size, a budget of memory, or the memory that is free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ..analysis.analysis import Analysis
from ..analysis.analyze import Inputs, analyze
from ..analysis.source import Source
from ..errors import InputError, TraceError
from ..planning.byte_size import bytes_of, bytes_text
from ..planning.crop import SCHEDULES, make_plan
from ..planning.options import Blocks
from ..planning.plan import Plan
from ..planning.slabs import DEFAULT_BAND
from . import NoSlabError
from .weigh import weighed

BANDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
"""Blocks of trim and stream that are tried for a budget."""
PART = 0.8
"""Of the memory that is free, as much is used."""


def plan(
    model: nn.Module | Analysis,
    inputs: Inputs | None = None,
    *,
    block: Blocks | None = None,
    memory: int | str | None = None,
    fixed_tile: Blocks | None = None,
    schedule: str | None = None,
    stream_axis: str | None = None,
    stored: bool = False,
    dtype: torch.dtype | str | None = None,
    axes: Sequence[str] | str | None = None,
    layout: str | Sequence[str | None] | None = None,
) -> Plan:
    """How to run `model` by blocks on inputs of these shapes, and what that costs against running it whole.

    inputs, axes, layout: as for `analyze`; a model may be an Analysis instead. block: the length of a block in samples
    of the finer of input and output, rounded up to whole outputs (256 when nothing is asked for, bands of 32 for a
    stream): for all axes; or {"W": 256}, then the other axes stay whole; or one per axis in their order, None for a
    whole one. Of a stream it is that of a band, along the stream, and the other axes stay whole unless they are given a
    length. memory: a budget such as "2GiB" instead, weights included: the blocks with the least work that fit.
    fixed_tile: tiles of one length in samples of the input, those at the border moved inward. schedule: "crop", "trim"
    or "stream" (docs/mathematics.md); when absent crop, with a budget the one with the least work. stream_axis: along
    which a stream goes, the longest axis when absent. stored: inputs and outputs are arrays that are read and written
    by slices, files say, so neither is held whole. dtype: the floating type to predict memory for.

    No forward pass is run. Raises InputError, TraceError, UnknownOperatorError; ObstacleError where the net cannot be
    run by blocks along these axes; NoSlabError where an operator has no way to run with trim or stream.
    """
    if not isinstance(model, Analysis):
        model = analyze(model, inputs, axes=axes, layout=layout)
    options = {"schedule": schedule, "stream_axis": stream_axis, "stored": stored, "dtype": dtype}
    return _planned(model, block, memory, fixed_tile, options, weigh=True)


def plan_to_run(
    analysis: Analysis,
    *,
    block: Blocks | None = None,
    memory: int | str | None = None,
    fixed_tile: Blocks | None = None,
    **options: Any,
) -> Plan:
    """The same, of an analysis, but without the memory of trim and stream where no budget asks for it: to know that
    takes a run on shapes. Other options and what it raises: see `plan`."""
    return _planned(analysis, block, memory, fixed_tile, options, weigh=False)


def with_memory(source: Source, made: Plan) -> Plan:
    """The plan with its memory in it, where that can be predicted. Raises NoSlabError."""
    return made if made.schedule == "crop" or made.memory is not None else weighed(source, made, None)


def _planned(
    analysis: Analysis,
    block: Blocks | None,
    memory: int | str | None,
    fixed_tile: Blocks | None,
    options: Mapping[str, Any],
    *,
    weigh: bool,
) -> Plan:
    if memory is not None and (block is not None or fixed_tile is not None):
        raise InputError("a block, a memory budget and a fixed tile exclude each other; give one of them")
    planner = _planner(analysis, **options)
    return planner.of(block, fixed_tile, weigh=weigh) if memory is None else planner.within(bytes_of(memory))


def _planner(
    analysis: Analysis,
    schedule: str | None = None,
    stream_axis: str | None = None,
    stored: bool = False,
    dtype: torch.dtype | str | None = None,
) -> _Planner:
    """Where only the axis of a stream is given, a stream is meant."""
    return _Planner(analysis, schedule or (None if stream_axis is None else "stream"), stream_axis, stored, dtype)


def plan_for(
    model: Analysis, free: int, *, schedule: str | None = None, stream_axis: str | None = None, stored: bool = False
) -> Plan:
    """The plan of nothing asked for; where that takes too much of the memory that is free, one that does not.

    free: bytes, weights not among them. Raises what `plan` raises.
    """
    usual = plan(model, schedule=schedule, stream_axis=stream_axis, stored=stored)
    if usual.memory is None or usual.memory.activations <= PART * free:
        return usual
    budget = int(PART * free) + usual.memory.weights
    try:
        return _planner(model, schedule, stream_axis, stored).within(budget, most=DEFAULT_BAND)
    except InputError as error:
        raise InputError(f"{bytes_text(free)} of memory are free, of which {PART:.0%} are used: {error}") from error


class _Planner:
    """What stays the same while blocks are tried."""

    def __init__(
        self,
        analysis: Analysis,
        schedule: str | None,
        stream_axis: str | None,
        stored: bool,
        dtype: torch.dtype | str | None,
    ) -> None:
        self._analysis, self._schedule, self._stream_axis, self._stored = analysis, schedule, stream_axis, stored
        self._floating = floating_type(dtype)
        self._dtype = None if self._floating is None else str(self._floating).removeprefix("torch.")

    def of(
        self,
        block: Blocks | None,
        fixed_tile: Blocks | None = None,
        *,
        schedule: str | None = None,
        weigh: bool = True,
    ) -> Plan:
        """The plan of these blocks. weigh: with the memory of trim and stream in it."""
        schedule = schedule or self._schedule or "crop"
        made = make_plan(
            self._analysis, block=block, fixed_tile=fixed_tile, schedule=schedule, stream_axis=self._stream_axis,
            stored=self._stored, dtype=self._dtype,
        )  # fmt: skip
        return made if schedule == "crop" or not weigh else weighed(self._analysis.source, made, self._floating)

    def within(self, budget: int, *, most: int | None = None) -> Plan:
        """Of all schedules that fit into a budget, the one with the least work. Raises InputError.

        most: no longer bands of a stream than this.
        """
        self._refuse_too_little(budget)
        found: list[Plan] = []
        refused: list[InputError | NoSlabError] = []
        schedules = SCHEDULES if self._schedule is None else (self._schedule,)
        for schedule in schedules:
            try:
                found.append(self._fitting(budget, schedule, most))
            except (InputError, NoSlabError) as error:
                refused.append(error)
        if not found and len(refused) == 1:
            raise refused[0]
        if not found:
            raise InputError("; ".join(f"{name}: {error}" for name, error in zip(schedules, refused, strict=True)))
        return min(found, key=lambda made: (made.work.kernel_macs, made.memory.total if made.memory else 0))

    def _refuse_too_little(self, budget: int) -> None:
        """What every block needs is known before any is tried. Raises InputError."""
        try:
            whole = self._analysis.source.run_memory(tuple(self._analysis.inputs.values()), self._dtype)
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
        if schedule == "crop":
            return make_plan(
                self._analysis, memory=budget, stream_axis=self._stream_axis, stored=self._stored, dtype=self._dtype
            )
        sizes = [n for n in BANDS if most is None or schedule != "stream" or n <= most]
        best, low, high = None, 0, len(sizes)
        while low < high:
            middle = (low + high) // 2
            made = self.of(sizes[middle], schedule=schedule)
            if made.memory is None:
                raise InputError("the memory of blocks cannot be predicted; give a block size")
            if made.memory.total <= budget:
                best, low = made, middle + 1
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
    """A floating type of torch by its name. Raises InputError."""
    if dtype is None:
        return None
    found = getattr(torch, str(dtype).removeprefix("torch."), None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise InputError(f"dtype={dtype!r}: expected a floating type such as float16")
    return found
