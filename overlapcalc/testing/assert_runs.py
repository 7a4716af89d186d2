"""An assertion about nets that are not local: what runs them, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..analysis.analysis import Analysis
from ..analysis.analyze import Inputs
from ..analysis.called import Kwargs, followed
from ..planning.options import BLOCKING_OPTIONS, PASSES, Blocking, BlockingOptions, refuse_unknown
from .claimed import Limit, assert_claims, read_claims

if TYPE_CHECKING:  # it comes with torch
    from typing_extensions import Unpack


def assert_runs(
    model: nn.Module | torch.export.ExportedProgram,
    shape: Inputs,
    how: str | Mapping[str, str] = PASSES,
    *,
    kwargs: Kwargs = None,
    max_passes: Limit | None = None,
    max_memory: int | str | None = None,
    max_disk: int | str | None = None,
    max_macs_ratio: float | None = None,
    axes: Sequence[str] | str | None = None,
    layout: str | Sequence[str | None] | None = None,
    **options: Unpack[BlockingOptions],
) -> Analysis:
    """Assert what runs `model` exactly at this shape: "tiles", "regions", "passes" or "nothing". Returns its analysis.

    how: for all axes, or {"H": "tiles", "W": "passes"}. max_passes: the most passes over the image, for all axes or
    one per axis. max_memory, max_disk, max_macs_ratio: bytes or "2GiB", weights included; and multiply-accumulates
    relative to the whole; of the plan with the options of `plan`, by passes when how is "passes". shape, kwargs, axes,
    layout: as for `analyze`. A net that has become better than claimed fails, too: `overlapcalc check` judges the same
    claims.

    Raises AssertionError with all that does not hold, InputError for claims that make no sense, and what `analyze`
    raises.

    >>> net = nn.Sequential(nn.Conv1d(3, 8, 5, padding=2), nn.GroupNorm(2, 8))
    >>> assert_runs(net, (1, 3, 32), "passes", max_passes=2).runs["L"].passes
    2
    """
    __tracebackhide__ = True
    refuse_unknown(
        options, "kwargs", "max_passes", "max_memory", "max_disk", "max_macs_ratio", *BLOCKING_OPTIONS, "axes", "layout"
    )
    claims = read_claims(
        runs=how, max_passes=max_passes, max_memory=max_memory, max_disk=max_disk, max_macs_ratio=max_macs_ratio
    )
    if how == PASSES:
        options = {"schedule": PASSES, **options}
    model, shape = followed(model, shape, kwargs)
    return assert_claims(claims, model, shape, Blocking(**options), axes, layout)
