"""From an nn.Module to a layer graph. Nothing after this package touches torch."""

from .program import Program
from .tracer import Shapes, runnable, trace

__all__ = ["Program", "Shapes", "runnable", "trace"]
