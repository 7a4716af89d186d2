"""Running by blocks: schedules over plans."""

from .block import Block
from .machine import Machine
from .slab import NoSlabError
from .wrong import WrongTileError

__all__ = ["Block", "Machine", "NoSlabError", "WrongTileError"]
