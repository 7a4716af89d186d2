"""Workflow commands of GitHub Actions: `::error file=...,line=...,title=...::message`."""

from __future__ import annotations

from .. import Check
from ..problems import problems


def check_annotations(check: Check) -> str:
    """One line per problem; empty where there is none."""
    return "".join(
        f"::error file={escaped_property(p.file)},line={p.line},title={escaped_property(p.title)}"
        f"::{escaped_data(p.message)}\n"
        for p in problems(check)
    )


def escaped_data(text: str) -> str:
    """The message of a workflow command: per cent signs and line ends as codes.

    >>> escaped_data("100%")
    '100%25'
    """
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escaped_property(text: str) -> str:
    """A property of a workflow command: colons and commas as codes, too."""
    return escaped_data(text).replace(":", "%3A").replace(",", "%2C")
