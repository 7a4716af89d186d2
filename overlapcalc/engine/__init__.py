"""Running by blocks: schedules over plans."""

from .block import Block
from .machine import Machine

__all__ = ["Block", "Machine"]
