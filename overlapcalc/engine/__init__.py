"""Running by blocks: schedules over plans."""

from .block import Block
from .crop import WrongTileError, cropped

__all__ = ["Block", "WrongTileError", "cropped"]
