"""Layers of which a wrong account is easily given, in families: constants as operands, lengths that follow the image's
size, factors that are no fractions, aliases, overloads, types. Each must be refused by name, or right. See docs/testing.md.
"""

from __future__ import annotations

from . import aliases, channels, factors, lookups, overloads, pointwise, products
from .compose import hazard_net, hazards
from .hazard import HAZARDS, Hazard

__all__ = ["HAZARDS", "Hazard", "hazard_net", "hazards"]
