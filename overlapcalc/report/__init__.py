"""Reports: what an Analysis looks like. Nothing here computes."""

from .csv import to_csv
from .explain import Explained, explained_json, render_explained
from .json import to_json
from .markdown import to_markdown
from .table import render

__all__ = ["Explained", "explained_json", "render", "render_explained", "to_csv", "to_json", "to_markdown"]
