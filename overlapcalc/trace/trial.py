"""Does a net run at a size? A forward pass on shapes alone, which costs a small part of a trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves

from ..ops.graph import Shapes
from .on_shapes import Call, OnShapes
from .quiet import quiet
from .stand_in import stand_in

TrialResults = Callable[[Shapes], list[tuple[int, ...] | None] | None]
"""Input shapes -> the shapes of what the net returns, None for what is no tensor; None where it does not run."""


def trial(model: nn.Module, dtypes: Sequence[torch.dtype]) -> Callable[[Shapes], bool]:
    """Input shapes -> whether the net runs there. Raises whatever copying the model raises."""
    results = trial_results(model, dtypes)
    return lambda shapes: results(shapes) is not None


def trial_results(model: nn.Module, dtypes: Sequence[torch.dtype]) -> TrialResults:
    """The results of a net. Raises whatever copying the model raises."""
    copy = stand_in(model)
    runs = OnShapes(copy)

    def shaped(shapes: Shapes, call: Call) -> list[tuple[int, ...] | None]:
        mode: Any = FakeTensorMode(allow_non_fake_inputs=True)
        with quiet(), torch.no_grad(), mode:
            state = {
                name: torch.empty(t.shape, dtype=t.dtype)
                for name, t in (*copy.named_parameters(), *copy.named_buffers())
            }
            inputs = tuple(torch.empty(s, dtype=d) for s, d in zip(shapes, dtypes, strict=True))
            return [tuple(t.shape) if isinstance(t, torch.Tensor) else None for t in tree_leaves(call(state, inputs))]

    def run(shapes: Shapes) -> list[tuple[int, ...] | None] | None:
        try:
            return runs.of(partial(shaped, shapes))
        except Exception:  # a net that does not run raises anything
            return None

    return run
