"""Reports: what an Analysis looks like. Nothing here computes."""

from .explain import Explained, explained_json, render_explained
from .json import to_json
from .table import render

__all__ = ["Explained", "explained_json", "render", "render_explained", "to_json"]
