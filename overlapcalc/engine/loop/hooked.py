"""What a hook makes of its cells, checked before it goes into the input that it is for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...errors import InputError
from ..holds import beyond

if TYPE_CHECKING:
    from .stage import Cells, Stage

SHOWN = 3
"""How many cells a message names."""


def hooked(stage: Stage, cells: Cells, shape: Sequence[int], kind: torch.dtype, *, judged: bool = True) -> Tensor:
    """The cells that the hook makes, in the input's type. shape: of a cell. judged: whether its numbers are looked at.

    Raises InputError where it returns something else, or numbers that are none or that the type does not hold. What the
    hook raises itself passes through, with a note that says where it ran.
    """
    where = f"the hook of {stage.feeds}"
    try:
        result = stage.hook(cells)
    except Exception as error:
        if hasattr(error, "add_note"):  # from Python 3.11 on
            given = ", ".join(cells.outputs)
            error.add_note(f"in {where}, at step {cells.step}, for {_cells(cells.places)}; it was given {given}")
        raise
    expected = (len(cells), *shape)
    if not isinstance(result, Tensor) or result.layout != torch.strided or tuple(result.shape) != expected:
        what = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
        raise InputError(f"{where} returned {what} at step {cells.step}; expected a tensor of shape {expected}")
    if not torch.can_cast(result.dtype, kind):
        raise InputError(f"{where} returned {result.dtype}; that input is {kind}")
    if judged:
        _judge(where, cells, result, kind)
    return result.to(kind)


def _judge(where: str, cells: Cells, result: Tensor, kind: torch.dtype) -> None:
    if result.is_floating_point():
        _refuse(where, cells, result, result.isnan(), "no number can be read as what was made")
    if result.dtype != kind:
        there = f"that input is {kind}, which does not hold it: make others, or a loop with a wider type"
        _refuse(where, cells, result, beyond(result, kind), there)


def _refuse(where: str, cells: Cells, result: Tensor, wrong: Tensor, why: str) -> None:
    if not bool(wrong.any()):
        return
    of_cells = wrong.reshape(len(cells), -1).any(1).tolist()
    at = [place for place, bad in zip(cells.places, of_cells, strict=True) if bad]
    value = result[wrong][0].item()
    raise InputError(f"{where} returned {value!r} at step {cells.step}, for {_cells(at)}; {why}")


def _cells(places: Sequence[tuple[int, ...]]) -> str:
    more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
    return f"the cell{'s' * (len(places) > 1)} at {', '.join(map(str, places[:SHOWN]))}{more}"
