"""Running by blocks: schedules over plans."""

from .block import Block
from .crop import cropped
from .wrong import WrongTileError

__all__ = ["Block", "WrongTileError", "cropped"]
