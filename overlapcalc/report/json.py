"""An Analysis as JSON."""

from __future__ import annotations

import json

from ..analysis.analysis import Analysis


def to_json(analysis: Analysis) -> str:
    """`Analysis.to_dict()` as text, with a newline at the end; fractions are strings such as "1/16".

    >>> to_json(oc.analyze(nn.Conv1d(3, 8, 5, padding=2), (1, 3, 32)))[:23]
    '{\\n  "schema_version": 1'
    """
    return json.dumps(analysis.to_dict(), indent=2, ensure_ascii=False) + "\n"
