"""Inputs of which only a region is kept: the rest is NaN, or other numbers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..engine.block import Region, within
from ..graph import Constant, Graph, constants_in

NAN = "nan"
FINITE = ("finite 1", "finite 2")
"""Two fillings that differ everywhere: what stops NaN, or makes it out of nothing, shows with these."""

STOPPERS = ("sign", "nan_to_num", "fmax", "fmin", "heaviside", "quantize", "bucketize", "searchsorted", "argmax",
            "argmin", "isnan", "isfinite", "isinf", "one_hot", "copysign", "hardtanh", "_to_copy")  # fmt: skip
"""Parts of the names of operators that may give a number for NaN. Comparisons show by their results."""
ZERO_WEIGHTS = ("linear1d", "bilinear2d", "trilinear3d", "bicubic2d", "_aa", "where", "masked_fill")
"""Operators that may multiply with a zero what they do not read."""


class Fillings:
    """Which fillings a net calls for. stops_nan: it may give a number for NaN. zero_taps: it may multiply by zero what
    the analysis says it does not read."""

    def __init__(self, graph: Graph) -> None:
        nodes = list(graph)
        self.stops_nan = any(node.truth or any(word in node.op for word in STOPPERS) for node in nodes)
        masks = (c for node in nodes for c in constants_in(node.args.values()))
        self.zero_taps = any(map(_masks, masks)) or any(word in node.op for node in nodes for word in ZERO_WEIGHTS)

    def used(self) -> Iterator[str]:
        """Fillings of which none may change what a block reads not, and one must change what it does."""
        if not self.zero_taps:
            yield NAN
        if self.stops_nan or self.zero_taps:
            yield from FINITE


def _masks(constant: Constant) -> bool:
    return constant.taps is not None or bool(constant.alive) or constant.pattern is not None


def only(x: Tensor, labels: tuple[str, ...], region: Region | None, filling: str) -> Tensor:
    """`x` inside the region, the filling everywhere else. None: nothing is kept."""
    generator = torch.Generator().manual_seed(1 + (FINITE.index(filling) if filling in FINITE else 0))
    if not x.is_floating_point():
        places = torch.randint(x.numel(), x.shape, generator=generator)
        made = x.flatten()[places.to(x.device)]
    elif filling == NAN:
        made = torch.full_like(x, torch.nan)
    else:
        made = (10 * torch.randn(x.shape, generator=generator, dtype=torch.float64)).to(x)
    if region is not None:
        here = within(labels, region)
        made[here] = x[here]
    return made


def same_bits(a: Tensor, b: Tensor) -> Tensor:
    """Where two tensors are equal, NaN being equal to NaN."""
    return (a == b) | ((a != a) & (b != b))
