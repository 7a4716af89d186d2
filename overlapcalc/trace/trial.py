"""Does a net run at a size? A forward pass on shapes alone, which costs a small part of a trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ..ops.graph import Shapes
from .quiet import quiet
from .stand_in import stand_in


def trial(model: nn.Module, dtypes: Sequence[torch.dtype]) -> Callable[[Shapes], bool]:
    """Input shapes -> whether the net runs there. Raises whatever copying the model raises."""
    copy = stand_in(model)

    def runs(shapes: Shapes) -> bool:
        mode: Any = FakeTensorMode(allow_non_fake_inputs=True)
        try:
            with quiet(), torch.no_grad(), mode:
                state = {
                    name: torch.empty(t.shape, dtype=t.dtype)
                    for name, t in (*copy.named_parameters(), *copy.named_buffers())
                }
                inputs = tuple(torch.empty(s, dtype=d) for s, d in zip(shapes, dtypes, strict=True))
                torch.func.functional_call(copy, state, inputs)
        except Exception:  # a net that does not run raises anything
            return False
        return True

    return runs
