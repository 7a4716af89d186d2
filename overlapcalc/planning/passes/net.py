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
    def of(
        net: Propagation, axis: str, unparted: frozenset[str] = frozenset(), again: frozenset[str] = frozenset()
    ) -> PassNet:
        """unparted: calls that run whole. again: nodes that every pass that reads them computes anew. Raises
        ObstacleError for what draws at random."""
        found = staged(net, axis, unparted)
        return PassNet(found, passes(found, again))
