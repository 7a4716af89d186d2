"""Norms over space, squeeze and excitation in its spellings, softmax over space, contraction over pixels."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .barrier import barrier, space, wide

# ---- norms ------------------------------------------------------------------------------------------------


def _groups(c: int) -> int:
    return next(g for g in (2, 3, 1) if c % g == 0)


@barrier("group_norm", parts=lambda c: {"norm": nn.GroupNorm(_groups(c), c)})
def _group_norm(m: Any, x: Tensor) -> Tensor:
    return m.norm(x)


@barrier("group_norm of one group", parts=lambda c: {"norm": nn.GroupNorm(1, c, affine=False)})
def _one_group(m: Any, x: Tensor) -> Tensor:
    return m.norm(x)


@barrier("instance_norm", parts=lambda c: {"a": nn.Linear(1, c)})
def _instance_norm(m: Any, x: Tensor) -> Tensor:
    return F.instance_norm(x, weight=m.a.weight[:, 0], bias=m.a.bias)


@barrier("layer_norm over space")
def _layer_norm_space(m: Any, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[2:])


@barrier("layer_norm over the last axis", numbers=(2, 3))
def _layer_norm_last(m: Any, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])


@barrier("layer_norm of all")
def _layer_norm_all(m: Any, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[1:])


@barrier("a norm written out")
def _written_out(m: Any, x: Tensor) -> Tensor:
    mean = x.mean(space(x), keepdim=True)
    return (x - mean) / (x.var(space(x), keepdim=True, unbiased=False) + 1e-4).sqrt()


@barrier("a norm by mean squares")
def _mean_squares(m: Any, x: Tensor) -> Tensor:
    apart = x - x.mean(space(x), keepdim=True)
    return apart * torch.rsqrt((apart * apart).mean(space(x), keepdim=True) + 1e-4)


@barrier("std")
def _std(m: Any, x: Tensor) -> Tensor:
    return x / (x.std(space(x), keepdim=True) + 0.1)


@barrier("var_mean")
def _var_mean(m: Any, x: Tensor) -> Tensor:
    var, mean = torch.var_mean(x, space(x), keepdim=True)
    return (x - mean) * torch.rsqrt(var + 1e-3)


@barrier("the norm of the response", parts=lambda c: {"scale": nn.Conv1d(c, 1, 1)})
def _response(m: Any, x: Tensor) -> Tensor:
    g = x.norm(2, dim=space(x), keepdim=True)
    return x + m.scale.bias * x * (g / (g.mean(1, keepdim=True) + 1e-3))


@barrier("normalize over pixels")
def _normalize(m: Any, x: Tensor) -> Tensor:
    return F.normalize(x.flatten(2), dim=-1).reshape(x.shape) * 4


# ---- squeeze and excitation -------------------------------------------------------------------------------


def _squeeze(c: int) -> dict[str, nn.Module]:
    return {"down": nn.Linear(c, 2), "up": nn.Linear(2, c)}


def _excited(m: Any, x: Tensor, pooled: Tensor) -> Tensor:
    return x * wide(m.up(F.relu(m.down(pooled.reshape(x.shape[0], x.shape[1])))).sigmoid(), x)


@barrier("squeeze by mean", parts=_squeeze)
def _by_mean(m: Any, x: Tensor) -> Tensor:
    return _excited(m, x, x.mean(space(x)))


@barrier("squeeze by an adaptive pool", parts=_squeeze)
def _by_adaptive(m: Any, x: Tensor) -> Tensor:
    pool = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[x.dim() - 3]
    return _excited(m, x, pool(x, 1))


@barrier("squeeze by a large pool", parts=_squeeze, numbers=(2, 3))
def _by_pool(m: Any, x: Tensor) -> Tensor:
    pool = F.avg_pool2d if x.dim() == 4 else F.avg_pool3d
    return _excited(m, x, pool(x, x.shape[2:]))


@barrier("squeeze by view", parts=_squeeze)
def _by_view(m: Any, x: Tensor) -> Tensor:
    return _excited(m, x, x.flatten(2).mean(-1))


@barrier("squeeze by sum", parts=_squeeze)
def _by_sum(m: Any, x: Tensor) -> Tensor:
    return _excited(m, x, x.flatten(2).sum(2) / x[0, 0].numel())


@barrier("squeeze axis by axis", parts=_squeeze, numbers=(2, 3))
def _by_axis(m: Any, x: Tensor) -> Tensor:
    pooled = x
    for d in reversed(space(x)):
        pooled = pooled.mean(d)
    return _excited(m, x, pooled)


@barrier("squeeze by a convolution", parts=lambda c: {"mix": nn.Conv1d(1, 1, 3, padding=1)})
def _by_conv(m: Any, x: Tensor) -> Tensor:
    pooled = x.mean(space(x))
    return x * wide(m.mix(pooled.unsqueeze(1)).squeeze(1).sigmoid(), x).expand_as(x)


@barrier("mean and maximum", parts=_squeeze)
def _both(m: Any, x: Tensor) -> Tensor:
    most = x.amax(space(x))
    return _excited(m, x, x.mean(space(x)) + most) + wide(most, x)


@barrier("maximum by an adaptive pool", parts=_squeeze)
def _adaptive_max(m: Any, x: Tensor) -> Tensor:
    pool = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)[x.dim() - 3]
    return _excited(m, x, pool(x, 1))


@barrier("range")
def _range(m: Any, x: Tensor) -> Tensor:
    low, high = x.amin(space(x), keepdim=True), x.amax(space(x), keepdim=True)
    return (x - low) / (high - low + 1)


@barrier("logsumexp")
def _logsumexp(m: Any, x: Tensor) -> Tensor:
    return x - torch.logsumexp(x, space(x), keepdim=True)


@barrier("strips", numbers=(2, 3))
def _strips(m: Any, x: Tensor) -> Tensor:
    """Means along each axis, spread back: coordinate attention, strip pooling."""
    found = x
    for d in space(x):
        found = found + x.mean(d, keepdim=True).sigmoid()
    return found


@barrier("above the mean")
def _above(m: Any, x: Tensor) -> Tensor:
    share = (x > x.mean(space(x), keepdim=True) + 0.01).to(x.dtype).mean(space(x), keepdim=True)
    return x * share + share


# ---- softmax over space, contraction over pixels ------------------------------------------------------------


@barrier("softmax over pixels")
def _softmax(m: Any, x: Tensor) -> Tensor:
    return x + x.flatten(2).softmax(-1).reshape(x.shape) * x[0, 0].numel()


@barrier("softmax over an axis")
def _softmax_axis(m: Any, x: Tensor) -> Tensor:
    return x + x.softmax(2) * x.shape[2]


@barrier("log_softmax over pixels")
def _log_softmax(m: Any, x: Tensor) -> Tensor:
    return x.flatten(2).log_softmax(-1).reshape(x.shape)


@barrier("softmax written out")
def _softmax_written(m: Any, x: Tensor) -> Tensor:
    e = (x - x.amax(space(x), keepdim=True)).exp()
    return x + e / e.mean(space(x), keepdim=True)


@barrier("a context", parts=lambda c: {"key": nn.Conv1d(c, 1, 1), "value": nn.Linear(c, c)})
def _context(m: Any, x: Tensor) -> Tensor:
    pixels = x.flatten(2)
    found = pixels @ m.key(pixels).softmax(-1).transpose(1, 2)
    return x + wide(m.value(found.squeeze(-1)), x)


@barrier("attention over channels", parts=lambda c: {"qkv": nn.Conv1d(c, 3 * c, 1), "scale": nn.Linear(1, 1)})
def _channel_attention(m: Any, x: Tensor) -> Tensor:
    q, k, v = m.qkv(x.flatten(2)).chunk(3, 1)
    q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
    a = (q @ k.transpose(-2, -1) * (m.scale.weight + 2)).softmax(-1)
    return x + (a @ v).reshape(x.shape)


@barrier("linear attention", parts=lambda c: {"qkv": nn.Conv1d(c, 3 * c, 1)})
def _linear_attention(m: Any, x: Tensor) -> Tensor:
    q, k, v = m.qkv(x.flatten(2)).chunk(3, 1)
    context = torch.einsum("bdn,ben->bde", k.softmax(-1), v)
    return x + torch.einsum("bde,bdn->ben", context, q.softmax(-2)).reshape(x.shape)


@barrier("linear attention of ReLU", parts=lambda c: {"qkv": nn.Conv1d(c, 3 * c, 1)})
def _relu_attention(m: Any, x: Tensor) -> Tensor:
    q, k, v = m.qkv(x.flatten(2)).chunk(3, 1)
    q, k = q.relu(), k.relu()
    total = q.transpose(1, 2) @ k.sum(-1, keepdim=True)
    return x + (v @ k.transpose(1, 2) @ q / (total.transpose(1, 2) + 1)).reshape(x.shape)


@barrier("a Gram matrix")
def _gram(m: Any, x: Tensor) -> Tensor:
    pixels = x.flatten(2)
    gram = torch.bmm(pixels, pixels.transpose(1, 2)) / pixels.shape[-1]
    return torch.bmm(gram, pixels).reshape(x.shape) + x
