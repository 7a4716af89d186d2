"""A user's model in eval mode for a while."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from torch import nn


@contextlib.contextmanager
def evaluating(model: nn.Module | None) -> Iterator[None]:
    """Holds the user's own model in eval mode for a while: a closure in its copy may still call into it.

    Threads may hold one model at once, or models that share layers; the last to leave a layer puts its mode back.
    """
    modules = list(model.modules()) if model is not None else []
    with _holding:
        for m in modules:
            count, mode = _held.get(id(vars(m)), (0, m.training))
            _held[id(vars(m))] = count + 1, mode
            m.training = False
    try:
        yield
    finally:
        with _holding:
            for m in modules:
                count, mode = _held.pop(id(vars(m)))
                if count > 1:
                    _held[id(vars(m))] = count - 1, mode
                else:
                    m.training = mode


_holding = threading.Lock()
_held: dict[int, tuple[int, bool]] = {}
"""Layers that are held in eval mode, by the identity of their attributes, which a net under another class (see
arguments.py) shares: how often, and the mode that each had."""
