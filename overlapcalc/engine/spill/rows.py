"""A tensor that one pass writes in bands, and later passes read in others."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from ...algebra.spans import Span
from .form import RowsForm


class Rows(Protocol):
    """A tensor of a form, wherever it lies. A row is written once before it is dropped, and read any number of times
    after it was written; anything else raises AssertionError."""

    @property
    def form(self) -> RowsForm: ...

    @property
    def nbytes(self) -> int:
        """Of the whole tensor."""

    @property
    def new(self) -> bool:
        """Whether what is read has memory of its own, to which one may write."""

    def write(self, begins: int, band: Tensor) -> None:
        """Rows [begins, begins + n): a copy of a band, n long along the form's dimension `at` and whole otherwise."""

    def read(self, span: Span) -> Tensor:
        """These rows, as a band. Where it is not `new`, its memory is the one that is kept: nobody may write to it."""

    def drop(self) -> None:
        """Forget the content and free its room; all rows may be written again."""


def fill_(room: Tensor, value: float) -> None:
    """Fill what was not written yet. For NaN in a type without it: the largest value."""
    if math.isnan(value) and not (room.is_floating_point() or room.is_complex()):
        room.fill_(True if room.dtype == torch.bool else torch.iinfo(room.dtype).max)
    else:
        room.fill_(value)
