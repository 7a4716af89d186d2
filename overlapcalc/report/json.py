"""An Analysis as JSON."""

from __future__ import annotations

import json

from ..analysis.analysis import Analysis


def to_json(analysis: Analysis) -> str:
    """`Analysis.to_dict()` as text, with a newline at the end; fractions are strings such as "1/16"."""
    return json.dumps(analysis.to_dict(), indent=2, ensure_ascii=False) + "\n"
