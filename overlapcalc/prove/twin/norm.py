"""Softmax and norms: every sample combined with an exact symmetric sum over all that the norm reads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .call import Call
from .modular import MOST_TERMS, key, mixed, mod
from .registry import twin

LEFT_OUT = -float("inf")


def normalised(salt: int, x: Tensor, over: list[int]) -> Tensor:
    total = mod(mixed(salt, x).sum(over, keepdim=True))
    return mixed(salt, x, total)


def softened(salt: int, x: Tensor, dim: int) -> Tensor:
    """Softmax: samples at minus infinity are left out of the sum, and become 0."""
    out = x == LEFT_OUT
    if not out.any():
        return normalised(salt, x, [dim])
    x = x.masked_fill(out, 0)
    total = mod(mixed(salt, x).masked_fill_(out, 0).sum(dim, keepdim=True))
    return mixed(salt, x, total).masked_fill_(out, 0)


@twin("_softmax", "softmax", "_safe_softmax")
def softmax(call: Call) -> Tensor:
    return softened(key("softmax"), call.tensor("self"), call["dim"])


@twin("_log_softmax", "log_softmax")
def log_softmax(call: Call) -> Tensor:
    x = call.tensor("self")
    return softened(key("log_softmax"), x, call["dim"]).masked_fill_(x == LEFT_OUT, LEFT_OUT)


def _affine(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is not None:
        y = mod(y * weight)
    return y if bias is None else mod(y + bias)


def _per_channel(t: Tensor | None, x: Tensor) -> Tensor | None:
    return None if t is None else t.reshape(-1, *[1] * (x.dim() - 2))


@twin("native_layer_norm")
def layer_norm(call: Call) -> Any:
    x = call.tensor("input")
    over = list(range(x.dim() - len(call["normalized_shape"]), x.dim()))
    y = normalised(key("layer_norm", call["eps"]), x, over)
    return call.with_others(_affine(y, call.maybe("weight"), call.maybe("bias")))


@twin("_fused_rms_norm", "rms_norm")
def rms_norm(call: Call) -> Any:
    x = call.tensor("input")
    over = list(range(x.dim() - len(call["normalized_shape"]), x.dim()))
    y = normalised(key("rms_norm", call["eps"]), x, over)
    return call.with_others(_affine(y, call.maybe("weight"), None))


@twin("native_group_norm")
def group_norm(call: Call) -> Any:
    x = call.tensor("input")
    parts = x.reshape(x.shape[0], call["group"], -1)
    y = normalised(key("group_norm", call["eps"]), parts, [2]).reshape(x.shape)
    weight, bias = _per_channel(call.maybe("weight"), x), _per_channel(call.maybe("bias"), x)
    return call.with_others(_affine(y, weight, bias))


@twin("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm",
      "miopen_batch_norm", "_batch_norm_no_update", "batch_norm")  # fmt: skip
def batch_norm(call: Call) -> Any:
    """With running statistics, a fixed affine map per channel; without, as in an instance norm, a norm."""
    x = call.tensor("input")
    salt = key("batch_norm", call["eps"] or call["epsilon"])
    mean, var = (_per_channel(call.maybe(name), x) for name in ("running_mean", "running_var"))
    if mean is None or var is None:
        y = normalised(salt, x, [d for d in range(x.dim()) if d != 1])
    elif call["training"]:
        raise call.refused("a batch norm in training mode, which changes its running statistics")
    else:
        y = mod((x - mean) * mixed(salt, var))
    weight, bias = _per_channel(call.maybe("weight"), x), _per_channel(call.maybe("bias"), x)
    return call.with_others(_affine(y, weight, bias))


@twin("_cdist_forward", "_euclidean_dist")
def distances(call: Call) -> Tensor:
    """A fixed map of the sum of squared differences."""
    a, b = call.tensor("x1"), call.tensor("x2")
    if a.shape[-1] > MOST_TERMS:
        raise call.refused(f"sums of {a.shape[-1]} products do not fit in 53 bits")
    squares = [mod(mod(t * t).sum(-1)) for t in (a, b)]
    return mixed(key("distance", call["p"]), mod(
        squares[0].unsqueeze(-1) + squares[1].unsqueeze(-2) - 2 * mod(torch.matmul(a, b.transpose(-1, -2)))
    ))  # fmt: skip
