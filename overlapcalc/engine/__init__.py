"""Running by blocks: schedules that carry out plans."""

from .block import Block
from .machine import Machine

__all__ = ["Block", "Machine"]
