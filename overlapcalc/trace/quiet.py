"""Tracing without noise, in one thread at a time."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

from torch.utils._python_dispatch import _disable_current_modes

LOGGERS = ("torch", "torch.export", "torch._dynamo", "torch.fx", "torch._export", "torch.__trace")
"""The last one logs every traced tensor, at a level of its own, and pytest would show that for a failing test."""

ONE_AT_A_TIME = threading.RLock()
"""torch.export temporarily changes torch itself (tables of operators, modes), and so do we (composites.py): two threads
tracing at once would leave it changed for good."""


class _Elsewhere:
    """A stream to which one thread writes nothing."""

    def __init__(self, stream: Any, thread: int) -> None:
        self._stream, self._thread = stream, thread

    def write(self, text: str) -> int:
        if threading.get_ident() == self._thread:
            return len(text)
        written: int = self._stream.write(text)
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences export, which logs tracebacks and warns about everything; what matters becomes one TraceError. Other
    threads still print; those that want to trace wait."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    with ONE_AT_A_TIME:
        levels = [log.level for log in loggers]
        out, err = (_Elsewhere(stream, threading.get_ident()) for stream in (sys.stdout, sys.stderr))
        try:
            for log in loggers:
                log.setLevel(logging.CRITICAL + 1)
            with warnings.catch_warnings(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                warnings.simplefilter("ignore")
                with _disable_current_modes():  # a caller that counts operations is not to count these
                    yield
        finally:
            for log, level in zip(loggers, levels, strict=True):
                log.setLevel(level)
