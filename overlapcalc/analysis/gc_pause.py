"""Python's cyclic garbage collector, paused."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def gc_paused() -> Iterator[None]:
    """No collection meanwhile. Propagating a net makes many small values and no cycles; the collector would walk over
    everything that torch has allocated, once for every few thousand of them."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()
