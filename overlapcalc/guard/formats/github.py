"""Workflow commands of GitHub Actions: `::error file=...,line=...,title=...::message`."""

from __future__ import annotations

from .. import Check
from ..problems import problems


def check_annotations(check: Check) -> str:
    """One line per problem; nothing where there is none."""
    return "".join(
        f"::error file={escaped_property(p.file)},line={p.line},title={escaped_property(p.title)}"
        f"::{escaped_data(p.message)}\n"
        for p in problems(check)
    )


def escaped_data(text: str) -> str:
    """As GitHub reads the message of a command: a per cent sign and ends of lines by their codes."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escaped_property(text: str) -> str:
    """As GitHub reads a property of a command: colons and commas by their codes, too."""
    return escaped_data(text).replace(":", "%3A").replace(",", "%2C")
