"""What a forward pass holds in memory, operator by operator: predicted by running it without data.

The net runs on the meta device, unmodified, so that every tensor lives exactly as long as its own code keeps it: as
long as a local variable or a caller's argument names it, which is longer than its last use. To that is added what
the kernels of torch's CPU build (oneDNN; measured with torch 2.13 on x86-64 with AVX-512) allocate while they run:

    float32 convolution                  max(blocked(in) + blocked(out), blocked(out) + out)
    float32 transposed convolution       max(2 * in + out, 3 * out)
    the same in float64 (im2col)         columns + out, columns = channels * taps * positions
    max-pooling                          out + 8 bytes of index for each of its samples

`blocked` rounds the channels up to 16; fewer than 16 input channels are read as they are. `out` is in each of them.
"""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

LANES = {"AVX512": 16, "AVX2": 8}
FEW = 20480
"""Up to so many input samples, torch does not use oneDNN for kernels of 3 and less."""


@dataclass(frozen=True)
class Held:
    """Bytes at the worst operator of a forward pass, its input not counted. `tensors` without kernel workspace."""

    tensors: int
    peak: int
    operator: str


def held(model: nn.Module, shape: tuple[int, ...], *, dtype: torch.dtype = torch.float32) -> Held:
    """What `model(x)` holds for an input of this shape, parameters and the input not counted. Runs nothing."""
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    bare = {name: torch.empty_like(t, device="meta", dtype=_like(t, dtype)) for name, t in state.items()}
    x = torch.empty(shape, dtype=dtype, device="meta")
    with torch.no_grad(), _Watch() as watch:
        torch.func.functional_call(model, bare, (x,))
    return Held(watch.tensors, watch.peak, watch.operator)


def _like(t: Tensor, dtype: torch.dtype) -> torch.dtype:
    return dtype if t.dtype.is_floating_point else t.dtype


class _Watch(TorchDispatchMode):
    """The largest sum of the storages alive during any operator, with and without its workspace."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive: dict[int, int] = {}
        self.tensors = self.peak = 0
        self.operator = ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = sum(self.alive.values())
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._count(leaf)
        now = sum(self.alive.values())
        self.tensors = max(self.tensors, now)
        here = max(now, before + _while_running(func, args, out))
        if here > self.peak:
            self.peak, self.operator = here, str(func)
        return out

    def _count(self, t: Tensor) -> None:
        storage = t.untyped_storage()
        key: int = storage._cdata
        if key not in self.alive:
            self.alive[key] = storage.nbytes()
            weakref.finalize(storage, self.alive.pop, key, None)


# ---- workspace ----------------------------------------------------------------------------------------------


def _while_running(func: Any, args: Any, out: Any) -> int:
    """Bytes an operator allocates at its worst moment, its result among them; 0 where it needs no more than that."""
    if func is not torch.ops.aten.convolution.default:
        return 0
    x, weight, _, stride, padding, _, transposed, _, groups = args[:9]
    if _by_onednn(x, weight, stride, groups):
        return _transposed(x, out) if transposed else _convolution(x, out)
    taps = math.prod(weight.shape[2:])
    if taps == 1 and not transposed and all(s == 1 for s in stride) and not any(padding):
        return _bytes(out)
    positions = math.prod((x if transposed else out).shape[2:])
    channels = (out if transposed else x).shape[1] // groups
    columns: int = channels * taps * positions * x.element_size()
    return columns + _bytes(out) * (1 if groups == 1 else 2)


def _by_onednn(x: Tensor, weight: Tensor, stride: list[int], groups: int) -> bool:
    onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if x.dtype != torch.float32 or not onednn:
        return False
    if all(k == 1 for k in weight.shape[2:]) and all(s == 1 for s in stride) and torch.get_num_threads() == 1:
        return False
    return bool(groups > 1 or all(k > 3 for k in weight.shape[2:]) or x.shape[0] > 1 or x.numel() > FEW)


def _convolution(x: Tensor, out: Tensor) -> int:
    """The kernel reads and writes blocks of channels, then the result is copied into the usual order."""
    source = _blocked(x) if x.shape[1] >= _lanes() else 0
    return max(source + _blocked(out), _blocked(out) + _bytes(out))


def _transposed(x: Tensor, out: Tensor) -> int:
    """The source reordered and once more with a border, and the result; then the result in two more orders."""
    return max(2 * _bytes(x) + _bytes(out), 3 * _bytes(out))


def _blocked(t: Tensor) -> int:
    lanes = _lanes()
    return _bytes(t) // int(t.shape[1]) * (-(-int(t.shape[1]) // lanes) * lanes)


def _lanes() -> int:
    return LANES.get(torch.backends.cpu.get_cpu_capability(), 4)


def _bytes(t: Tensor) -> int:
    return t.numel() * t.element_size()
