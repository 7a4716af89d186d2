"""Guarding models: claims of a configuration, a lock of what models need, and checking both."""

from .checking import check, lock
from .result import Check, Checked

__all__ = ["Check", "Checked", "check", "lock"]
