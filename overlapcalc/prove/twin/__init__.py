"""The exact twin: an unmodified net computed in integers modulo a prime, bit-identical with any kernel."""

from __future__ import annotations

from . import attention, comparisons, conv, norm, pointwise, pool, rearrange, reduce, resize  # noqa: F401 - they register
from .mode import Modular
from .model import twin_of
from .modular import PRIME, residues

__all__ = ["PRIME", "Modular", "residues", "twin_of"]
