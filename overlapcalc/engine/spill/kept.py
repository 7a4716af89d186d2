"""Rows in memory."""

from __future__ import annotations

from torch import Tensor

from ...algebra.spans import Span
from .form import RowsForm
from .ledger import Ledger
from .rows import fill_


class KeptRows:
    """Rows in memory, which is taken at the first write and freed when it is dropped.

    Bands that are read are views: they keep all of the memory alive. fill: the value of rows that are not written;
    None for whatever is there.
    """

    new = False

    def __init__(self, form: RowsForm, *, fill: float | None = None) -> None:
        self.form, self._fill = form, fill
        self._ledger = Ledger(form.name, form.rows)
        self._kept: Tensor | None = None

    @property
    def nbytes(self) -> int:
        return self.form.nbytes

    def write(self, begins: int, band: Tensor) -> None:
        span = self.form.span_of(begins, band)
        if span is None:
            return
        self._ledger.check_write(span)
        self._room().narrow(0, begins, span.length).copy_(self.form.lying(band))
        self._ledger.enter(span)

    def read(self, span: Span) -> Tensor:
        self._ledger.check_read(span)
        return self.form.standing(self._room().narrow(0, span.start, span.length))

    def drop(self) -> None:
        self._ledger.clear()
        self._kept = None

    def _room(self) -> Tensor:
        if self._kept is None:
            self._kept = self.form.empty(self.form.rows)
            if self._fill is not None:
                fill_(self._kept, self._fill)
        return self._kept
