"""A kit to test architectures: assertions, brute force, and random nets for hypothesis. See docs/testing.md.

The assertions and the brute force need nothing but overlapcalc; `cnns`, `sizes` and `block_grids` need hypothesis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .assert_runs import assert_runs
from .asserts import assert_blocking_free, assert_reads, assert_same_by_blocks
from .barriers import Barrier, BarrierNet, Several, barrier_net
from .hazards import HAZARDS, Hazard, hazard_net, hazards
from .modules import GDN, Add, Cat, ChannelNorm, Channels, Gate, Mirror, Multiply, Slice, Whole
from .nets import Call, Net
from .oracle import BruteForce, Dependency, dependency
from .weights import positive

if TYPE_CHECKING:
    from .recipes import FAMILIES
    from .strategies import block_grids, cnns, sizes

STRATEGIES = ("FAMILIES", "block_grids", "cnns", "sizes")

__all__ = [
    "FAMILIES",
    "GDN",
    "HAZARDS",
    "Add",
    "Barrier",
    "BarrierNet",
    "BruteForce",
    "Call",
    "Cat",
    "ChannelNorm",
    "Channels",
    "Dependency",
    "Gate",
    "Hazard",
    "Mirror",
    "Multiply",
    "Net",
    "Several",
    "Slice",
    "Whole",
    "assert_blocking_free",
    "assert_reads",
    "assert_runs",
    "assert_same_by_blocks",
    "barrier_net",
    "block_grids",
    "cnns",
    "dependency",
    "hazard_net",
    "hazards",
    "positive",
    "sizes",
]


def __dir__() -> list[str]:
    """The public names, including those that are not loaded yet."""
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """The strategies, loaded when they are first used."""
    if name not in STRATEGIES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from . import strategies
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "hypothesis":
            raise
        raise ImportError(
            f"overlapcalc.testing.{name} needs hypothesis, which is not installed: pip install overlapcalc[test]"
        ) from error
    return getattr(strategies, name)
