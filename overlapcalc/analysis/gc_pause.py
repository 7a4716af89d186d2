"""Python's cyclic collector, at rest for a while."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """No collection meanwhile. Propagating a net makes many small values and no cycles; a collection would walk over
    all that torch has left behind, once for every few thousand of them."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()
