"""Which tensors share memory."""

from __future__ import annotations

from torch import Tensor


def memory(x: Tensor) -> int:
    """A number that tensors share if they share memory, even those without any (fake ones)."""
    return int(x.untyped_storage()._cdata)
