"""A net at one size, in stages and in passes along one axis."""

from __future__ import annotations

from dataclasses import dataclass

from ...propagate.staged import Staged
from ...propagate.stager import staged
from ...propagate.values import Propagation
from .cut import Pass, passes


@dataclass(frozen=True)
class PassNet:
    """A net at one size, in passes along one axis."""

    net: Staged
    passes: tuple[Pass, ...]

    @staticmethod
    def of(net: Propagation, axis: str) -> PassNet:
        """Raises ObstacleError for what draws at random."""
        found = staged(net, axis)
        return PassNet(found, passes(found))
