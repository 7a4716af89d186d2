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

LOGGERS = ("torch", "torch.export", "torch._dynamo", "torch.fx", "torch._export")
TRACE = "torch.__trace"
"""Logs every traced tensor, and pytest would show that for a failing test. Torch asks for its handlers before it makes
the text of an entry, which is long, and not for its level."""

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
    first, *others = (logging.getLogger(name) for name in LOGGERS)
    trace = logging.getLogger(TRACE)
    with ONE_AT_A_TIME:
        # one without a level has that of the first; every change of a level makes all loggers forget what they know
        loggers = [first, *(log for log in others if log.level != logging.NOTSET)]
        levels, handlers = [log.level for log in loggers], trace.handlers
        out, err = (_Elsewhere(stream, threading.get_ident()) for stream in (sys.stdout, sys.stderr))
        try:
            trace.handlers = []
            for log in loggers:
                log.setLevel(logging.CRITICAL + 1)
            with warnings.catch_warnings(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                warnings.simplefilter("ignore")
                with _disable_current_modes():  # a caller that counts operations is not to count these
                    yield
        finally:
            trace.handlers = handlers
            for log, level in zip(loggers, levels, strict=True):
                log.setLevel(level)
