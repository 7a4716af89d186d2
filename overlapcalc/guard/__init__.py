"""Guarding models: claims in a configuration, a lock that records what models need, and checks of both."""

from .checking import check, lock
from .result import Check, Checked

__all__ = ["Check", "Checked", "check", "lock"]
