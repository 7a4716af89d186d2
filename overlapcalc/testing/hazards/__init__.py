"""Layers that are easy to get wrong: each must be refused by name, or be right. See docs/testing.md.

Families: constants as operands, lengths that follow the image's size, factors that are no fractions, aliases,
overloads, types within a net.
"""

from __future__ import annotations

from . import aliases, arguments, attention, channels, factors, lookups, overloads, pointwise, products  # noqa: F401
from .compose import hazard_net, hazards
from .hazard import HAZARDS, Hazard

__all__ = ["HAZARDS", "Hazard", "hazard_net", "hazards"]
