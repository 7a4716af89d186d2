"""overlapcalc: how much context each block of an image needs so that a CNN can run block by block, exactly."""

from .analysis import Analysis, AxisGrid, Pair
from .analyze import analyze
from .axis import AxisAnalysis
from .engine import Block, NoSlabError, WrongTileError
from .errors import (
    AmbiguousPair,
    InputError,
    ObstacleError,
    OverlapcalcError,
    RuleError,
    TraceError,
    UnforeseenError,
    UnknownOperatorError,
)
from .explain import Contribution, Explanation
from .guard import Check, Checked, check, lock
from .index import IndexMap, Span
from .local import LocalAxis
from .measure import Sides
from .ops import rule, unregister
from .plan import Memory, Plan
from .planning import plan
from .proofs import Figures, Proof, Verification
from .reach import Obstacle
from .running import Tiled, blocks, run, tiled
from .verifying import verify
from .version import __version__
from .work import Work

__all__ = [
    "AmbiguousPair",
    "Analysis",
    "AxisAnalysis",
    "AxisGrid",
    "Block",
    "Check",
    "Checked",
    "Contribution",
    "Explanation",
    "Figures",
    "IndexMap",
    "InputError",
    "LocalAxis",
    "Memory",
    "NoSlabError",
    "Obstacle",
    "ObstacleError",
    "OverlapcalcError",
    "Pair",
    "Plan",
    "Proof",
    "RuleError",
    "Sides",
    "Span",
    "Tiled",
    "TraceError",
    "UnforeseenError",
    "UnknownOperatorError",
    "Verification",
    "Work",
    "WrongTileError",
    "__version__",
    "analyze",
    "blocks",
    "check",
    "lock",
    "plan",
    "rule",
    "run",
    "tiled",
    "unregister",
    "verify",
]


def __dir__() -> list[str]:
    """The public names; submodules are no part of the contract."""
    return sorted(__all__)
