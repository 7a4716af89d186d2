"""Reports: what an Analysis looks like. Nothing here computes."""

from .csv import to_csv
from .json import to_json
from .markdown import to_markdown
from .table import render

__all__ = ["render", "to_csv", "to_json", "to_markdown"]
