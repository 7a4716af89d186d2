"""What a proof is asked about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from ..analysis.analysis import Analysis
from ..analysis.called import Kwargs, as_analysed, followed
from ..planning.options import refuse_beside_analysis


def as_asked(
    model: nn.Module,
    inputs: Any,
    kwargs: Kwargs,
    axes: Sequence[str] | str | None,
    layout: str | Sequence[str | None] | None,
) -> tuple[nn.Module, Any]:
    """The net as it is called, and its inputs or the analysis of it. Raises InputError."""
    if isinstance(inputs, Analysis):
        refuse_beside_analysis(kwargs=kwargs, axes=axes, layout=layout)
        return as_analysed(model, inputs), inputs
    return followed(model, inputs, kwargs)
