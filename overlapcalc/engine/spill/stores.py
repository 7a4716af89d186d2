"""Where a run of passes stores each tensor: in memory or in one spill file, as its plan says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from ...planning.passes.plan import PassesPlan
from ...planning.passes.stored import Stored
from ...planning.spill_slots import SlotRequest, Slots, packed
from .file import SpillFile
from .form import RowsForm
from .kept import KeptRows
from .rows import Rows
from .spilled import SpilledRows


class Stores:
    """The stores of one run. `like`: an input without samples; what follows the type of the inputs has its type.

    fill: the value of what is not written yet, NaN in proofs. The file is there, with its room reserved, from the start
    to the end of the context. Raises InputError where there is no place for it.
    """

    def __init__(self, plan: PassesPlan, like: Tensor, *, fill: float | None = None) -> None:
        self._fill, self._device = fill, like.device
        self._stored = {one.name: _of_type(one, like.dtype) for one in plan.stored}
        self._slots = slots_of(self._stored.values())
        self._folder = None if plan.spill is None else Path(plan.spill)
        self._file: SpillFile | None = None

    def __enter__(self) -> Stores:
        if self._slots.size:
            self._file = SpillFile(self._folder, self._slots.size)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def rows(self, name: str, band: Tensor, sizes: tuple[int, ...], at: int) -> Rows:
        """The store of a tensor, of which this is a band."""
        form = RowsForm(name, sizes, at, band.dtype, self._device)
        planned = self._stored.get(name)
        # a proof runs in other types than the plan is for, and on all images at once
        other = planned is None or form.nbytes != planned.nbytes
        if planned is None or planned.kept or self._file is None or other:
            return KeptRows(form, fill=self._fill)
        return SpilledRows(form, self._file, self._slots.offsets[name], fill=self._fill)


def slots_of(stored: Iterable[Stored]) -> Slots:
    """Where what is not kept lies in the file."""
    return packed([SlotRequest(one.name, one.nbytes, one.first, one.last) for one in stored if not one.kept])


def _of_type(one: Stored, dtype: torch.dtype) -> Stored:
    """The same in a run on inputs of this type."""
    if not one.own or not dtype.is_floating_point:
        return one
    samples = one.nbytes // getattr(torch, one.dtype).itemsize
    return replace(one, dtype=str(dtype).removeprefix("torch."), nbytes=samples * dtype.itemsize)
