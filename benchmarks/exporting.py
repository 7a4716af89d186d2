"""What torch alone does before anything can be analysed: the share of the time that is not ours."""

from __future__ import annotations

import copy

import torch
from torch import nn


def export(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """One export and one empty decomposition. Raises whatever torch raises."""
    with torch.no_grad():
        torch.export.export(copy.deepcopy(model), inputs, strict=False).run_decompositions({})
