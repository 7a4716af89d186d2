"""A Check as text, JSON, JUnit XML, SARIF and GitHub annotations."""

from .github import check_annotations
from .json import check_json
from .junit import check_junit
from .sarif import check_sarif
from .text import render_check

__all__ = ["check_annotations", "check_json", "check_junit", "check_sarif", "render_check"]
