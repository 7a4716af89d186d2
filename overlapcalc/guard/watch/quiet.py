"""What the guard reads for itself is no matter of a model."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class _Busy(threading.local):
    """Whether this thread is at work for the guard itself."""

    now = False


busy = _Busy()


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """What we read ourselves is no matter of the model."""
    before, busy.now = busy.now, True
    try:
        yield
    finally:
        busy.now = before
