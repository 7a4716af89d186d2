"""Running by blocks: schedules that carry out plans."""

from .block import Block
from .errors import NoSlabError, WrongTileError
from .machine import Machine

__all__ = ["Block", "Machine", "NoSlabError", "WrongTileError"]
