"""Inputs with only a region kept: the rest is NaN, or other numbers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..engine.block import within
from ..ops import Kind, known_of
from ..ops.facts import may_stop_nan
from ..ops.graph import Constant, Graph, constants_in
from ..propagate.regions import Region

NAN = "nan"
FINITE = ("finite 1", "finite 2")
"""Two fillings that differ everywhere, for operators that stop NaN or create it."""
MORE = ("finite 3", "finite 4", "finite 5", "finite 6")
"""More fillings for controls, all positive or all negative: a maximum, or a flat function, may hide some."""
SHUFFLED = "samples of its own"
"""For a net that fails on numbers that its image does not contain: it may look them up in a table."""
SCALES = dict(zip((*FINITE, *MORE), (10.0, 1.0, 30.0, -30.0, 3.0, -3.0), strict=True))


class Fillings:
    """Which fillings a net needs. stops_nan: it may turn NaN into a number. zero_taps: it may multiply by zero what
    the analysis says it does not read. resizes: an operator that computes such weights from positions; "" for none."""

    def __init__(self, graph: Graph) -> None:
        nodes = list(graph)
        self.stops_nan = any(node.truth or may_stop_nan(node.op) for node in nodes)
        masks = (c for node in nodes for c in constants_in(node.args.values()))
        weighed = [known for known in (known_of(node.op) for node in nodes) if known.zero_weights]
        self.zero_taps = any(map(_masks, masks)) or bool(weighed)
        self.resizes = next((node.op for node in nodes if _resizes(node.op)), "")

    def used(self, *, control: bool = False) -> Iterator[str]:
        """Fillings none of which may change anything; for a control, fillings one of which must."""
        if not self.zero_taps:
            yield NAN
        if self.stops_nan or self.zero_taps:
            yield from FINITE
            yield from MORE if control else ()


def _resizes(op: str) -> bool:
    known = known_of(op)
    return known.kind is Kind.RESIZE and bool(known.zero_weights)


def _masks(constant: Constant) -> bool:
    return constant.taps is not None or bool(constant.alive or constant.marks) or constant.pattern is not None


def only(x: Tensor, labels: tuple[str, ...], region: Region | None, filling: str) -> Tensor:
    """`x` inside the region, the filling everywhere else. None: keep nothing."""
    generator = torch.Generator().manual_seed(list(SCALES).index(filling) if filling in SCALES else 0)
    if not x.is_floating_point() or filling == SHUFFLED:
        places = torch.randint(x.numel(), x.shape, generator=generator, device="cpu")
        made = x.flatten()[places.to(x.device)]
    elif filling == NAN:
        made = torch.full_like(x, torch.nan)
    else:
        drawn = torch.randn(x.shape, generator=generator, dtype=torch.float64, device="cpu")
        made = (SCALES[filling] * (drawn.abs() if filling in MORE else drawn)).to(x)
    if region is not None:
        here = within(labels, region)
        made[here] = x[here]
    return made


def same_bits(a: Tensor, b: Tensor) -> Tensor:
    """Where two tensors are equal; NaN equals NaN."""
    return (a == b) | ((a != a) & (b != b))
