"""How far the windows of a net reach, taken together: a bound found by running it, not by analysing it.

Every convolution, pooling and resampling adds its window, in samples of the image, to the most that any of its
operands had gathered; everything else adds nothing. What depends on samples much farther away than this is not local.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from .runs import tensors

FLAG = "_benchmark_window"


def windows(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[int, ...]:
    """Per spatial axis of the inputs, the extent of the local part of the net's receptive field, or more."""
    most = max(inputs, key=lambda x: x.dim())
    mode = _Windows(tuple(most.shape[2:]))
    with torch.no_grad(), mode:
        outputs = tensors(model(*inputs))
    gathered = [getattr(y, FLAG, mode.none) for y in outputs]
    return tuple(1 + max(g[i] for g in gathered) for i in range(len(mode.none)))


@dataclass(frozen=True)
class Traits:
    """Whether a net has operators that NaN does not pass, and taps whose weight may be zero."""

    stops_nan: bool
    zero_taps: bool


STOPS_NAN = frozenset(
    {"sign", "sgn", "gt", "lt", "ge", "le", "eq", "ne", "where", "nan_to_num", "fmax", "fmin", "heaviside", "isnan"}
    | {"isfinite", "argmax", "argmin", "topk", "sort", "bucketize", "bitwise_and", "logical_and", "logical_not"}
    | {"fake_quantize_per_tensor_affine", "fake_quantize_per_channel_affine"}
)
ZERO_TAPS = ("linear1d", "linear2d", "linear3d", "bicubic", "grid_sampler")


def traits_of(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> Traits:
    mode = _Windows((1,))
    with torch.no_grad(), mode:
        model(*inputs)
    resampled = any(part in name for name in mode.met for part in ZERO_TAPS)
    return Traits(bool(mode.met & STOPS_NAN), resampled or mode.masked)


class _Windows(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, image: tuple[int, ...]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.image, self.none = image, (0,) * len(image)
        self.met: set[str] = set()
        self.masked = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        gathered = [getattr(t, FLAG) for t in tensors((args, kwargs)) if hasattr(t, FLAG)]
        before = tuple(max(values) for values in zip(*gathered, strict=True)) if gathered else self.none
        name = func.overloadpacket.__name__
        self.met.add(name)
        if "conv" in name and len(args) > 5:
            self.masked = self.masked or bool((args[1] == 0).any())
        own = self._own(name, args, tensors(out))
        after = tuple(a + b for a, b in zip(before, own, strict=True))
        for t in tensors(out):
            setattr(t, FLAG, after)
        return out

    def _own(self, name: str, args: Any, out: list[torch.Tensor]) -> tuple[int, ...]:
        """The window of one call, in samples of the image."""
        n = len(self.image)
        if not out or out[0].dim() != n + 2 or not isinstance(args[0], torch.Tensor) or args[0].dim() != n + 2:
            return self.none
        pick = min if name.startswith("upsample") else max  # the taps of a convolution lie on its finer side
        grid = [pick(a, b) for a, b in zip(args[0].shape[2:], out[0].shape[2:], strict=True)]
        jump = [-(-image // max(1, size)) for image, size in zip(self.image, grid, strict=True)]
        if "conv" in name and len(args) > 5:
            taps = [(k - 1) * d for k, d in zip(args[1].shape[2:], _each(args[5], n), strict=True)]
        elif "pool" in name and "adaptive" not in name:
            taps = [k - 1 for k in _each(args[1], n)]
        elif name.startswith("upsample"):
            taps = [4] * n
        else:
            return self.none
        return tuple(t * j for t, j in zip(taps, jump, strict=True))


def _each(value: Any, n: int) -> list[int]:
    values = [int(v) for v in value] if isinstance(value, (list, tuple)) else [int(value)]
    return values * n if len(values) == 1 else values
