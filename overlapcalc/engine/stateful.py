"""Does a net remember from one call to the next? No trace of a single call shows it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import WrongTileError

ROOM = 1e3
"""Two runs of a net without memory may differ by this many units of rounding; on a CPU they do not."""
CONTAINERS = (list, tuple, dict, set, deque)


def marks(module: nn.Module) -> dict[tuple[str, str], Any]:
    """Whatever changes when a call leaves a trace in the module or in what it holds, by module and attribute."""
    found = {}
    for path, part in module.named_modules():
        for name, value in (*vars(part).items(), *part._buffers.items(), *part._parameters.items()):
            if name not in ("_buffers", "_parameters", "_modules"):
                found[path, name] = _mark(value)
    return found


def _mark(value: Any) -> Any:
    if isinstance(value, Tensor):
        return id(value), None if value.is_inference() else value._version
    if isinstance(value, (int, float, complex, str, type(None))):
        return value
    return id(value), len(value) if isinstance(value, CONTAINERS) else None


def refuse_memory(first: Mapping[str, Tensor], again: Mapping[str, Tensor]) -> None:
    """Raises WrongTileError where a net returned two different results for one tile."""
    for name, y in first.items():
        z = again[name]
        if y.is_floating_point() or y.is_complex():
            room = ROOM * torch.finfo(y.dtype).eps * float(y.abs().nan_to_num().max()) if y.numel() else 0.0
            same = torch.allclose(y, z, rtol=0, atol=room, equal_nan=True)
        else:
            same = torch.equal(y, z)
        if not same:
            raise WrongTileError(
                f"{name} differs when the net runs on the same tile again: the net counts its calls, or remembers "
                "them, so blocks do not give what one call gives; freeze that in eval mode"
            )
