"""What the guard reads for itself has nothing to do with a model."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class _Busy(threading.local):
    """Whether this thread is working for the guard itself."""

    now = False


busy = _Busy()


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Nothing that is read inside counts as read by a model."""
    before, busy.now = busy.now, True
    try:
        yield
    finally:
        busy.now = before
