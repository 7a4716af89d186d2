"""Rows in a spill file."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

from torch import Tensor

from ...algebra.spans import Span
from .file import SpillFile
from .form import CPU, RowsForm
from .ledger import Ledger
from .rows import fill_

PIECE = 1 << 20
"""About as many bytes are copied at once where a band does not lie in memory as it does in the file."""


class SpilledRows:
    """Rows at an offset of a spill file, which is theirs from the first write on until they are dropped.

    fill: the value of rows that are not written; None for whatever is there.
    """

    new = True

    def __init__(self, form: RowsForm, file: SpillFile, offset: int, *, fill: float | None = None) -> None:
        self.form, self._file, self._offset, self._fill = form, file, offset, fill
        self._ledger = Ledger(form.name, form.rows)
        self._borrowed = False

    @property
    def nbytes(self) -> int:
        return self.form.nbytes

    def write(self, begins: int, band: Tensor) -> None:
        span = self.form.span_of(begins, band)
        if span is None:
            return
        self._ledger.check_write(span)
        self._borrow()
        lying = self.form.lying(band)
        for rows in self._pieces(span.length):
            self._put(lying.narrow(0, rows.start, rows.length), begins + rows.start)
        self._ledger.enter(span)

    def read(self, span: Span) -> Tensor:
        self._ledger.check_read(span)
        lying = self.form.empty(span.length, CPU)
        self._file.read(bytes_in(lying), self._place(span.start))
        return self.form.standing(lying.to(self.form.device))

    def drop(self) -> None:
        self._ledger.clear()
        if self._borrowed:
            self._file.give_back(self.form.name)
            self._borrowed = False

    def _borrow(self) -> None:
        if not self._borrowed:
            self._file.lend(self.form.name, self._offset, self.nbytes)
            self._borrowed = True
            self._fill_room()

    def _put(self, lying: Tensor, begins: int) -> None:
        plain = lying.to(CPU).contiguous().resolve_conj().resolve_neg()  # a lazy conjugate is not in the bytes
        self._file.write(bytes_in(plain), self._place(begins))

    def _fill_room(self) -> None:
        if self._fill is None:
            return
        for rows in self._pieces(self.form.rows):
            room = self.form.empty(rows.length, CPU)
            fill_(room, self._fill)
            self._put(room, rows.start)

    def _pieces(self, rows: int) -> Iterator[Span]:
        step = max(1, PIECE // max(1, self.form.row_bytes))
        for start in range(0, rows, step):
            yield Span(start, min(start + step, rows))

    def _place(self, row: int) -> int:
        return self._offset + row * self.form.row_bytes


def bytes_in(lying: Tensor) -> memoryview:
    """The memory of a contiguous tensor on the CPU, which must stay alive as long as this is used."""
    assert lying.is_contiguous()
    assert lying.device == CPU
    size = lying.numel() * lying.element_size()
    return memoryview((ctypes.c_char * size).from_address(lying.data_ptr())).cast("B") if size else memoryview(b"")
