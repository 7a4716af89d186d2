"""Attention over pixels, operators that take a whole axis, laws at a size, scans, and results that are no images."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .barrier import barrier, space, wide

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def _qkv(c: int) -> dict[str, nn.Module]:
    return {"qkv": nn.Linear(c, 3 * c)}


def _tokens(m: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N, pixels, C), three times."""
    q, k, v = m.qkv(x.flatten(2).transpose(1, 2)).chunk(3, -1)
    return q, k, v


def _back(tokens: Tensor, x: Tensor) -> Tensor:
    return x + tokens.transpose(1, 2).reshape(x.shape)


# ---- attention over pixels ----------------------------------------------------------------------------------


@barrier("attention", parts=_qkv)
def _attention(m: Any, x: Tensor) -> Tensor:
    q, k, v = _tokens(m, x)
    return _back((q @ k.transpose(1, 2) / math.sqrt(x.shape[1])).softmax(-1) @ v, x)


@barrier("fused attention", parts=_qkv)
def _fused(m: Any, x: Tensor) -> Tensor:
    return _back(F.scaled_dot_product_attention(*_tokens(m, x)), x)


@barrier("attention with heads", parts=_qkv)
def _heads(m: Any, x: Tensor) -> Tensor:
    h = 2 if x.shape[1] % 2 == 0 else 1
    q, k, v = (t.unflatten(-1, (h, -1)).transpose(1, 2) for t in _tokens(m, x))
    return _back(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2), x)


@barrier("attention by einsum", parts=_qkv)
def _by_einsum(m: Any, x: Tensor) -> Tensor:
    q, k, v = m.qkv(x.movedim(1, -1)).movedim(-1, 1).flatten(2).chunk(3, 1)
    a = torch.einsum("bci,bcj->bij", q, k).softmax(-1)
    return x + torch.einsum("bij,bcj->bci", a, v).reshape(x.shape)


@barrier("nn.MultiheadAttention", parts=lambda c: {"attention": nn.MultiheadAttention(c, 1, batch_first=True)})
def _multihead(m: Any, x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    return _back(m.attention(tokens, tokens, tokens, need_weights=False)[0], x)


@barrier("attention to fewer keys", parts=lambda c: {"q": nn.Linear(c, c), "kv": nn.Linear(c, 2 * c)}, numbers=(2,))
def _fewer_keys(m: Any, x: Tensor) -> Tensor:
    """Keys and values of pooled pixels: a pyramid vision transformer."""
    k, v = m.kv(F.avg_pool2d(x, 2).flatten(2).transpose(1, 2)).chunk(2, -1)
    q = m.q(x.flatten(2).transpose(1, 2))
    return _back((q @ k.transpose(1, 2)).softmax(-1) @ v, x)


@barrier("attention along the last axis", parts=_qkv, numbers=(2, 3))
def _axial(m: Any, x: Tensor) -> Tensor:
    q, k, v = m.qkv(x.movedim(1, -1)).chunk(3, -1)
    return x + F.scaled_dot_product_attention(q, k, v).movedim(-1, 1)


# ---- a whole axis -------------------------------------------------------------------------------------------


@barrier("fft")
def _fft(m: Any, x: Tensor) -> Tensor:
    f = torch.fft.fftn(x, dim=space(x))
    return x + torch.fft.ifftn(f * (1 + f.abs()).reciprocal(), dim=space(x)).real


@barrier("rfft along the last axis")
def _rfft(m: Any, x: Tensor) -> Tensor:
    f = torch.fft.rfft(x, dim=-1, norm="ortho")
    return x + torch.fft.irfft(f * 0.5, n=x.shape[-1], dim=-1, norm="ortho")


@barrier("fft along the first axis")
def _fft_first(m: Any, x: Tensor) -> Tensor:
    return torch.fft.fft(x, dim=2, norm="ortho").real + x


@barrier("sort")
def _sort(m: Any, x: Tensor) -> Tensor:
    return x.sort(2).values + 0.5 * x


@barrier("sort along the last axis")
def _sort_last(m: Any, x: Tensor) -> Tensor:
    return torch.sort(x, dim=-1, descending=True)[0] * 0.5 + x


@barrier("median")
def _median(m: Any, x: Tensor) -> Tensor:
    return x - x.flatten(2).median(-1, keepdim=True).values.reshape(*x.shape[:2], *[1] * (x.dim() - 2))


@barrier("cumsum")
def _cumsum(m: Any, x: Tensor) -> Tensor:
    return x.cumsum(2) / x.shape[2]


@barrier("cumsum along the last axis")
def _cumsum_last(m: Any, x: Tensor) -> Tensor:
    return torch.cumsum(x, -1) * 0.2


@barrier("a cumulative mean")
def _cumulative_mean(m: Any, x: Tensor) -> Tensor:
    count = torch.ones_like(x).cumsum(2)
    return x - x.cumsum(2) / count


@barrier("cummax")
def _cummax(m: Any, x: Tensor) -> Tensor:
    return x.cummax(2).values * 0.5 + x


@barrier("flip")
def _flip(m: Any, x: Tensor) -> Tensor:
    return x.flip(2) + 0.5 * x


@barrier("flip all axes")
def _flip_all(m: Any, x: Tensor) -> Tensor:
    return torch.cat([x, x.flip(space(x))], 1)


@barrier("roll")
def _roll(m: Any, x: Tensor) -> Tensor:
    return x + torch.roll(x, (3,) * (x.dim() - 2), space(x))


@barrier("a GRU", parts=lambda c: {"gru": nn.GRU(c, c, batch_first=True)}, numbers=(1,))
def _gru(m: Any, x: Tensor) -> Tensor:
    return m.gru(x.transpose(1, 2))[0].transpose(1, 2)


@barrier("a GRU both ways", parts=lambda c: {"gru": nn.GRU(c, c, bidirectional=True)})
def _gru_both_ways(m: Any, x: Tensor) -> Tensor:
    columns = x.movedim(2, 0).movedim(2, -1)  # (H, N, ..., C)
    y = m.gru(columns.reshape(len(columns), -1, columns.shape[-1]))[0]
    return x + sum(y.reshape(*columns.shape[:-1], -1).movedim(-1, 2).movedim(0, 2).chunk(2, 1))


@barrier("an LSTM of two layers both ways", numbers=(1,),
         parts=lambda c: {"lstm": nn.LSTM(c, c, 2, batch_first=True, bidirectional=True)})  # fmt: skip
def _lstm_both_ways(m: Any, x: Tensor) -> Tensor:
    return sum(m.lstm(x.transpose(1, 2))[0].transpose(1, 2).chunk(2, 1), x)


# ---- laws at a size -----------------------------------------------------------------------------------------


@barrier("to a size")
def _to_a_size(m: Any, x: Tensor) -> Tensor:
    return F.interpolate(x, size=tuple(n + 3 for n in x.shape[2:]), mode="nearest")


@barrier("to a smaller size")
def _smaller(m: Any, x: Tensor) -> Tensor:
    small = F.interpolate(x, size=tuple(max(2, n * 2 // 3) for n in x.shape[2:]), mode=LINEAR[x.dim() - 2])
    return F.relu(small) + small


@barrier("corners aligned")
def _corners(m: Any, x: Tensor) -> Tensor:
    size = tuple(2 * n - 1 for n in x.shape[2:])
    return F.interpolate(x, size=size, mode=LINEAR[x.dim() - 2], align_corners=True)


@barrier("pooled and back", parts=lambda c: {"mix": nn.Linear(c, c)})
def _pyramid(m: Any, x: Tensor) -> Tensor:
    """One level of a pyramid of pools: a grid of two samples a side, mixed, and brought back to the image."""
    pool = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[x.dim() - 3]
    small = m.mix(pool(x, 2).movedim(1, -1)).movedim(-1, 1)
    return x + F.interpolate(small, size=x.shape[2:], mode=LINEAR[x.dim() - 2])


@barrier("a grid of maxima")
def _max_grid(m: Any, x: Tensor) -> Tensor:
    pool = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)[x.dim() - 3]
    return pool(x, tuple(max(2, n // 2) for n in x.shape[2:]))


@barrier("circular padding", parts=lambda c: {f"conv{n}": CONV[n](c, c, 3, padding=1, padding_mode="circular")
                                              for n in CONV})  # fmt: skip
def _circular(m: Any, x: Tensor) -> Tensor:
    return getattr(m, f"conv{x.dim() - 2}")(x)


@barrier("places")
def _places(m: Any, x: Tensor) -> Tensor:
    ramp = torch.linspace(-1, 1, x.shape[2], dtype=x.dtype, device=x.device)
    return x * ramp.reshape(-1, *[1] * (x.dim() - 3)) + x


@barrier("one after the other")
def _joined(m: Any, x: Tensor) -> Tensor:
    return torch.cat([x, x * 0.5], 2)


@barrier("the first apart")
def _first_apart(m: Any, x: Tensor) -> Tensor:
    return torch.cat([x[:, :, :1], x[:, :, 1:].repeat_interleave(2, 2)], 2)


# ---- results without an axis --------------------------------------------------------------------------------


@barrier("scores", parts=lambda c: {"head": nn.Linear(c, 5)}, last=True)
def _scores(m: Any, x: Tensor) -> Tensor:
    return m.head(x.mean(space(x)))


@barrier("maxima", last=True)
def _maxima(m: Any, x: Tensor) -> Tensor:
    return x.amax(space(x))


@barrier("a style", last=True)
def _style(m: Any, x: Tensor) -> Tensor:
    pixels = x.flatten(2)
    return pixels @ pixels.transpose(1, 2) / pixels.shape[-1]


@barrier("a profile", numbers=(2, 3), last=True)
def _profile(m: Any, x: Tensor) -> Tensor:
    return x.mean(2)


@barrier("tokens", last=True)
def _as_tokens(m: Any, x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


@barrier("a pooled image", last=True)
def _pooled_image(m: Any, x: Tensor) -> Tensor:
    return wide(x.mean(space(x)), x)
