"""An Analysis as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..analysis.analysis import Analysis
from ..analysis.sizes import Sizes


def to_json(analysis: Analysis, *, sizes: Mapping[str, Sizes] | None = None) -> str:
    """`Analysis.to_dict()` as text, with a newline at the end; fractions are strings such as "1/16". sizes: those that
    the net accepts, per axis, as "accepted".

    >>> to_json(oc.analyze(nn.Conv1d(3, 8, 5, padding=2), (1, 3, 32)))[:23]
    '{\\n  "schema_version": 1'
    """
    found = analysis.to_dict()
    if sizes is not None:
        found["accepted"] = {axis: one.to_dict() for axis, one in sizes.items()}
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"
