"""Running by blocks: schedules over plans."""

from .block import Block
from .errors import WrongTileError
from .machine import Machine
from .slab import NoSlabError

__all__ = ["Block", "Machine", "NoSlabError", "WrongTileError"]
