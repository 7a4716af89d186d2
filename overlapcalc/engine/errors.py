"""Errors that stop a run by blocks."""

from __future__ import annotations

from ..errors import OverlapcalcError


class WrongTileError(OverlapcalcError):
    """The net does on a tile what its analysis does not say; nothing that it gives can be trusted."""


class NoSlabError(OverlapcalcError):
    """An operator for which nothing says how it runs on a slab."""
