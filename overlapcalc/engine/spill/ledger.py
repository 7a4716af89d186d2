"""Which rows were written: each read and each write is held against it."""

from __future__ import annotations

from ...algebra.spans import EMPTY, Span, Spans


class Ledger:
    """The rows [0, rows) of a tensor that were written since it was last dropped.

    >>> ledger = Ledger("x", 8)
    >>> ledger.enter(Span(0, 4))
    >>> ledger.check_read(Span(2, 6))
    Traceback (most recent call last):
        ...
    AssertionError: x: rows [2, 6) are read, but written are [0, 4) of 8
    """

    def __init__(self, name: str, rows: int) -> None:
        self._name, self._rows, self._written = name, rows, EMPTY

    def check_write(self, span: Span) -> None:
        """Raises AssertionError for rows that there are not, or that were written before."""
        if span.start < 0 or span.stop > self._rows or self._written.clip(*span):
            raise self._error(span, "written")

    def enter(self, span: Span) -> None:
        self.check_write(span)
        self._written |= Spans.span(*span)

    def check_read(self, span: Span) -> None:
        """Raises AssertionError for rows that were not written."""
        if self._written.clip(*span) != Spans.span(*span):
            raise self._error(span, "read")

    def clear(self) -> None:
        self._written = EMPTY

    def _error(self, span: Span, done: str) -> AssertionError:
        written = ", ".join(str(Span(*part)) for part in self._written.parts) or "none"
        return AssertionError(f"{self._name}: rows {span} are {done}, but written are {written} of {self._rows}")
