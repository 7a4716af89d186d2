"""overlapcalc: how much context each block of an image needs so that a CNN can run block by block, exactly."""

from .analysis import Analysis, AxisGrid, Pair
from .analyze import analyze
from .axis import AxisAnalysis
from .errors import (
    AmbiguousPair,
    InputError,
    ObstacleError,
    OverlapcalcError,
    RuleError,
    TraceError,
    UnknownOperatorError,
)
from .explain import Contribution, Explanation
from .index import IndexMap, Span
from .local import LocalAxis
from .measure import Sides
from .ops import rule, unregister
from .reach import Obstacle
from .version import __version__

__all__ = [
    "AmbiguousPair",
    "Analysis",
    "AxisAnalysis",
    "AxisGrid",
    "Contribution",
    "Explanation",
    "IndexMap",
    "InputError",
    "LocalAxis",
    "Obstacle",
    "ObstacleError",
    "OverlapcalcError",
    "Pair",
    "RuleError",
    "Sides",
    "Span",
    "TraceError",
    "UnknownOperatorError",
    "__version__",
    "analyze",
    "rule",
    "unregister",
]
