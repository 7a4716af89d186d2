"""The two densities of latents, under CompressAI's names and shapes: what a symbol costs while training.

Coding needs tables that both sides agree on to the last bit; those are made elsewhere. The tables in a checkpoint are
kept as they are.
"""

from __future__ import annotations

import math
from collections.abc import MutableMapping
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .gdn import LowerBound

LEAST = 1e-9
"""Of a likelihood, so that its logarithm stays finite."""
TAIL = 1e-9
"""The mass that lies beyond the outer quantiles."""
WIDTHS = (1, 3, 3, 3, 3, 1)
"""Of the small net that gives the logits of a channel's distribution."""
INIT = 10.0
"""The distribution is about this wide, each way, before training."""


class _Tabled(nn.Module):
    """Has buffers of any size, which take the size of what is loaded."""

    tables: tuple[str, ...] = ("_offset", "_quantized_cdf", "_cdf_length")

    def __init__(self) -> None:
        super().__init__()
        for name in ("_offset", "_quantized_cdf", "_cdf_length"):
            self.register_buffer(name, torch.empty(0, dtype=torch.int32))
        self.likelihood_lower_bound = LowerBound(LEAST)

    def _load_from_state_dict(
        self, state_dict: MutableMapping[str, Any], prefix: str, *others: Any, **named: Any
    ) -> None:
        for name in self.tables:
            loaded = state_dict.get(prefix + name)
            if loaded is not None:
                setattr(self, name, getattr(self, name).new_empty(loaded.shape))
        super()._load_from_state_dict(state_dict, prefix, *others, **named)


class EntropyBottleneck(_Tabled):
    """A density for each channel, learned without any form given (Balle et al. 2018, appendix 6.1)."""

    target: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.matrices, self.biases, self.factors = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        slope = INIT ** (1 / (len(WIDTHS) - 1))
        for inputs, outputs in pairwise(WIDTHS):
            weight = math.log(math.expm1(1 / slope / outputs))
            self.matrices.append(nn.Parameter(torch.full((channels, outputs, inputs), weight)))
            self.biases.append(nn.Parameter(torch.rand(channels, outputs, 1) - 0.5))
        for width in WIDTHS[1:-1]:
            self.factors.append(nn.Parameter(torch.zeros(channels, width, 1)))
        self.quantiles = nn.Parameter(torch.tensor([-INIT, 0.0, INIT]).repeat(channels, 1, 1))
        target = math.log(2 / TAIL - 1)
        self.register_buffer("target", torch.tensor([-target, 0.0, target]))

    @property
    def medians(self) -> Tensor:
        """Of shape (channels, 1, 1)."""
        return self.quantiles[:, :, 1:2].detach()

    def logits(self, x: Tensor, *, fixed: bool = False) -> Tensor:
        """The logit of P(X < x) for x of shape (channels, 1, n). fixed: no gradient reaches the density."""

        def of(parameter: Tensor) -> Tensor:
            return parameter.detach() if fixed else parameter

        for i, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            x = torch.matmul(F.softplus(of(matrix)), x) + of(bias)
            if i < len(self.factors):
                x = x + torch.tanh(of(self.factors[i])) * torch.tanh(x)
        return x

    def likelihood(self, values: Tensor) -> Tensor:
        """Of the unit interval around each value, of shape (batch, channels, height, width)."""
        batch, channels, height, width = values.shape
        x = values.transpose(0, 1).reshape(channels, 1, -1)
        mass = torch.sigmoid(self.logits(x + 0.5)) - torch.sigmoid(self.logits(x - 0.5))
        bounded = self.likelihood_lower_bound(mass)
        return bounded.reshape(channels, batch, height, width).transpose(0, 1)

    def quantile_loss(self) -> Tensor:
        """Least where the quantiles are those of the density. It moves the quantiles only."""
        return (self.logits(self.quantiles, fixed=True) - self.target).abs().sum()

    def _load_from_state_dict(
        self, state_dict: MutableMapping[str, Any], prefix: str, *others: Any, **named: Any
    ) -> None:
        """Older checkpoints call `matrices.0` `_matrix0`, and so on."""
        for old, new in (("_matrix", "matrices."), ("_bias", "biases."), ("_factor", "factors.")):
            for i in range(len(self.matrices)):
                if f"{prefix}{old}{i}" in state_dict:
                    state_dict[f"{prefix}{new}{i}"] = state_dict.pop(f"{prefix}{old}{i}")
        super()._load_from_state_dict(state_dict, prefix, *others, **named)


class GaussianConditional(_Tabled):
    """Normal densities of given means and scales."""

    tables = (*_Tabled.tables, "scale_table")
    scale_table: Tensor
    scale_bound: Tensor

    def __init__(self, least_scale: float = 0.11) -> None:
        super().__init__()
        self.register_buffer("scale_table", torch.empty(0))
        self.register_buffer("scale_bound", torch.tensor([least_scale]))
        self.lower_bound_scale = LowerBound(least_scale)

    def likelihood(self, values: Tensor, scales: Tensor, means: Tensor) -> Tensor:
        """Of the unit interval around each value."""
        away, scales = (values - means).abs(), self.lower_bound_scale(scales)
        # Both ends lie in the lower tail, where the difference of two small numbers is exact enough.
        mass = _normal((0.5 - away) / scales) - _normal((-0.5 - away) / scales)
        return self.likelihood_lower_bound(mass)


def _normal(x: Tensor) -> Tensor:
    return 0.5 * torch.erfc(-(2**-0.5) * x)
