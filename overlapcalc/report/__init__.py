"""Reports: what an Analysis looks like. Nothing here computes."""

from .json import to_json
from .table import render

__all__ = ["render", "to_json"]
