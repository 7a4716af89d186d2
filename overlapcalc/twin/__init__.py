"""The exact twin: an unmodified net computed in integers modulo a prime, bit-identical whatever kernel runs."""

from __future__ import annotations

from ..errors import NoTwin
from . import arithmetic, attention, compare, linear, moves, norm, pool, reduce, resize  # noqa: F401 - they register
from .field import PRIME, residues
from .mode import Modular
from .model import twin_of

__all__ = ["PRIME", "Modular", "NoTwin", "residues", "twin_of"]
