"""Random nets that need passes: barriers, laws at a size, and local layers between, before and beside them."""

from __future__ import annotations

from . import reductions, whole  # noqa: F401
from .barrier import Barrier
from .drawn import BarrierNet, Several, barrier_net
from .shrunk import smaller_nets, smallest

__all__ = ["Barrier", "BarrierNet", "Several", "barrier_net", "smaller_nets", "smallest"]
