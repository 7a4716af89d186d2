"""overlapcalc: how much context each block of an image needs so that a CNN can run block by block, exactly."""

from .algebra.index_map import IndexMap
from .algebra.spans import Span
from .analysis.analysis import Analysis, AxisGrid, Pair
from .analysis.analyze import analyze
from .analysis.axis import AxisAnalysis
from .analysis.explain import Contribution, Explanation
from .analysis.local import LocalAxis
from .analysis.measures import Sides
from .engine import Block, NoSlabError, WrongTileError
from .engine.plan import plan
from .engine.run import Tiled, blocks, run, tiled
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
from .guard import Check, Checked, check, lock
from .ops import rule, unregister
from .planning.costs import Work
from .planning.plan import Memory, Plan
from .propagate.values import Obstacle
from .prove import Figures, Proof, Verification
from .prove.verify import verify
from .version import __version__

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
