"""overlapcalc: how much context each block of an image needs so that a CNN can run block by block, exactly."""

from .analysis import Analysis, AxisAnalysis, AxisGrid, Pair
from .analyze import analyze
from .errors import (
    AmbiguousPair,
    InputError,
    ObstacleError,
    OverlapcalcError,
    RuleError,
    TraceError,
    UnknownOperatorError,
)
from .index import IndexMap, Span
from .measure import Sides
from .ops import rule, unregister
from .propagator import Obstacle

__version__ = "0.1.0"

__all__ = [
    "AmbiguousPair",
    "Analysis",
    "AxisAnalysis",
    "AxisGrid",
    "IndexMap",
    "InputError",
    "Obstacle",
    "ObstacleError",
    "OverlapcalcError",
    "Pair",
    "RuleError",
    "Sides",
    "Span",
    "TraceError",
    "UnknownOperatorError",
    "analyze",
    "rule",
    "unregister",
]
