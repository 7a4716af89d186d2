"""An Analysis as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..analysis.analysis import Analysis
from ..analysis.sizes import Sizes
from .verdict import time_of


def to_json(
    analysis: Analysis, *, sizes: Mapping[str, Sizes] | None = None, rates: Mapping[str, float] | None = None
) -> str:
    """`Analysis.to_dict()` as text, with a newline at the end; fractions are strings such as "1/16". sizes: those that
    the net accepts, per axis, as "accepted". rates: samples per second; axes that have one get "time".

    >>> to_json(oc.analyze(nn.Conv1d(3, 8, 5, padding=2), (1, 3, 32)))[:23]
    '{\\n  "schema_version": 1'
    """
    found = analysis.to_dict()
    if sizes is not None:
        found["accepted"] = {axis: one.to_dict() for axis, one in sizes.items()}
    for pair, shown in zip(analysis.pairs, found["pairs"], strict=True):
        for axis, rate in (rates or {}).items():
            if axis not in shown["axes"]:
                continue
            found_along = pair.one_sided(axis) if pair.obstacles(axis) else pair[axis]
            if found_along is not None:
                times = {word.replace("-", "_"): n for word, n in time_of(found_along).items()}
                shown["axes"][axis]["time"] = {word: {"samples": n, "ms": 1000 * n / rate} for word, n in times.items()}
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"
