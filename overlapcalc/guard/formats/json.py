"""A Check as JSON."""

from __future__ import annotations

import json

from .. import Check


def check_json(check: Check) -> str:
    """`Check.to_dict()` as text, with a newline at the end."""
    return json.dumps(check.to_dict(), indent=2, ensure_ascii=False) + "\n"
