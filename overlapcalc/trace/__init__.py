"""From an nn.Module to a layer graph. Nothing after this package touches torch."""

from .tracer import Shapes, trace

__all__ = ["Shapes", "trace"]
